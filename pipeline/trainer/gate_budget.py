"""Equal FLOPs: what a network may spend on the deployment workload, and gates rounded so that it spends just that."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..config import RunConfig
from ..hw_proxy.workload import KeepRatios
from ..models.compact import gated_part
from ..models.gates import CLEARANCE
from ..models.video_audio_ast import VideoAudioAST
from ..models.video_vit import VideoViT
from .hardware_term import final_ratios, total_flops, uniform_gates

STEADY = 2.0


@torch.no_grad()
def flops_budget(cfg: RunConfig, network: VideoViT | VideoAudioAST) -> float:
    """FLOPs of one batch of the workload that gates may spend.

    Those of the network as it starts, if any of its gates are closed; else what uniform gates at `ast.target_*` leave.
    """
    start = final_ratios(cfg, network)
    closed = any(bool((values < 1.0).any()) for values in (start.heads, start.channels, start.attention, start.mlp))
    return total_flops(cfg, start).item() if closed else flops_at_targets(cfg, network)


@torch.no_grad()
def flops_at_targets(cfg: RunConfig, network: VideoViT | VideoAudioAST) -> float:
    """FLOPs of one batch of the workload that uniform gates at `ast.target_*` leave, with the network's tokens."""
    return total_flops(cfg, uniform_gates(cfg, final_ratios(cfg, network).tokens, 1.0)).item()


@torch.no_grad()
def steady_coarse_gates(network: VideoViT | VideoAudioAST) -> None:
    """Move the gates of heads and branches of a pruned start away from zero, each on its own side.

    A start leaves them just clear of it, and one of a few heads that flips by chance moves the FLOPs by several
    percent, which all channels then have to make up for. A steady pull still turns them.
    """
    pruner, _ = gated_part(network)
    for logit in (pruner.head_logit, pruner.block_logit):
        assert logit is not None
        logit.add_(torch.where(logit > 0, STEADY, -STEADY))


def budget_term(cfg: RunConfig, keep: KeepRatios, budget: float) -> tuple[Float[Tensor, ""], float]:
    """lambda_macs times the squared relative distance from the budget, and the FLOPs over the budget."""
    share = total_flops(cfg, keep) / budget
    return cfg.hw.lambda_macs * (share - 1.0) ** 2, share.item()


@torch.no_grad()
def settle_within_budget(cfg: RunConfig, network: VideoViT | VideoAudioAST, budget: float) -> None:
    """Round the gates: as many channels close, the lowest logits first, as bring the FLOPs closest to the budget.

    Heads and branches stay as they are, unless so many are closed that all channels could not spend the budget: then
    those open again that were closest to it. With `hw.lambda_macs: 0` FLOPs are free, and every gate stays as it is.
    In any case logits are moved clear of zero, where the next step of anything could turn them.
    """
    pruner, _ = gated_part(network)
    assert pruner.ch_logit is not None
    if cfg.hw.lambda_macs:
        _open_coarse_gates(cfg, network, budget)
        _close_channels(cfg, network, pruner.ch_logit, budget)
    for logit in (pruner.head_logit, pruner.ch_logit, pruner.block_logit):
        assert logit is not None
        logit.copy_(torch.where(logit > 0, logit.clamp_min(CLEARANCE), logit.clamp_max(-CLEARANCE)))


def _open_coarse_gates(cfg: RunConfig, network: VideoViT | VideoAudioAST, budget: float) -> None:
    """Open closed heads and branches, the highest logits first, until open channels could spend the budget."""
    pruner, _ = gated_part(network)
    assert pruner.ch_logit is not None
    assert pruner.head_logit is not None
    assert pruner.block_logit is not None
    as_they_were = pruner.ch_logit.clone()
    pruner.ch_logit.abs_().clamp_min_(CLEARANCE)
    coarse = (pruner.head_logit, pruner.block_logit)
    while total_flops(cfg, final_ratios(cfg, network)).item() < budget:
        nearest = [logit.masked_fill(logit > 0, -torch.inf).max() for logit in coarse]
        logit, value = max(zip(coarse, nearest, strict=True), key=lambda pair: pair[1].item())
        if value == -torch.inf:
            break
        logit[logit == value] = CLEARANCE
    pruner.ch_logit.copy_(as_they_were)


def _close_channels(cfg: RunConfig, network: VideoViT | VideoAudioAST, logit: Tensor, budget: float) -> None:
    order = logit.flatten().argsort(stable=True)
    distance = logit.abs().clamp_min(CLEARANCE).flatten()

    def excess(closed: int) -> float:
        """FLOPs over the budget, as a share, with the lowest `closed` channels closed; falls with every one."""
        flat = distance.clone()
        flat[order[:closed]] *= -1.0
        logit.copy_(flat.view_as(logit))
        return total_flops(cfg, final_ratios(cfg, network)).item() / budget - 1.0

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if excess(middle) <= 0.0 else (middle + 1, high)
    nearest = min((number for number in (low - 1, low) if number >= 0), key=lambda number: abs(excess(number)))
    excess(nearest)
