"""The hardware term of a training step: from a network's live gates to latency, energy and memory on one chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..config import RunConfig
from ..errors import ConfigError
from ..hw_proxy.chip_library import load_chip_library
from ..hw_proxy.hw_loss import compute_hw_loss_single_device, single_device_costs
from ..hw_proxy.proxy_files import load_proxy
from ..hw_proxy.roofline_proxy import RooflineProxy
from ..hw_proxy.workload import KeepRatios, keep_everything, workload_costs
from ..models.compact import gated_part, has_pruner
from ..models.video_audio_ast import VideoAudioAST
from ..models.video_vit import VideoViT
from .workload_segments import workload_segments

Gates = Mapping[str, Tensor]


@dataclass(frozen=True)
class HardwareTerm:
    """What stays the same over all steps: the settings, the chip, the proxy, and the dense network's costs.

    Every term of the loss is divided by the dense network's, which is what the first step has: gates start open.
    """

    cfg: RunConfig
    proxy: Any
    chip: Mapping[str, Any]
    reference: Mapping[str, float]

    def loss(self, gates: Gates, target_ramp: float) -> tuple[Float[Tensor, ""], dict[str, Any]]:
        """L_hw of the present gates, and its statistics.

        With `hw.lambda_macs` the squared relative distance of the workload's FLOPs from a budget is added: from what
        uniform gates at `ast.target_*` would leave after the share `target_ramp` of their schedule. The pruner then
        spends as much as without hardware in the loop, and hardware decides where.

        Args:
            gates: `info["gates"]` of a forward pass: `keep_ratio`, and `head`, `channel`, `block` if there are gates.
        """
        hw = self.cfg.hw
        keep = keep_ratios(gates, self.cfg.ast.prune_layers, self.cfg.model.depth)
        loss, stats = compute_hw_loss_single_device(
            workload_segments(hw, keep), self.proxy, self.cfg, chip=self.chip, reference=self.reference
        )
        budget = total_flops(self.cfg, uniform_gates(self.cfg, keep.tokens, target_ramp))
        share = total_flops(self.cfg, keep) / budget
        if hw.lambda_macs:
            excess = hw.lambda_macs * (share - 1.0) ** 2
            loss, stats = loss + excess, {**stats, "term_macs": excess.item()}
        history = {
            "hw_loss": loss.item(),
            "predicted_latency": stats["latency_ms"],
            "predicted_energy": stats["energy_j"],
            "flops_over_budget": share.item(),
        }
        return loss, {**stats, "L_hw": loss.item(), **history}


def hardware_term(cfg: RunConfig, proxy_folder: Path | None) -> HardwareTerm:
    """The hardware term of a run on the chip `hw.chip`.

    Args:
        proxy_folder: the fitted proxy, with `hw.proxy: fitted`.

    Raises:
        ConfigError: the chip is not in the library, or the fitted proxy is not given.
        DataError: the folder holds no proxy.
    """
    proxy = segment_proxy(cfg, proxy_folder)
    chip = load_chip_library().select(cfg.hw.chip)[0].specs()
    with torch.no_grad():
        dense = single_device_costs(workload_segments(cfg.hw, keep_everything()), proxy, chip)
    return HardwareTerm(cfg, proxy, chip, dense.totals())


def segment_proxy(cfg: RunConfig, folder: Path | None) -> Any:
    """What prices segments: the modelled roofline, or a fitted proxy from its folder."""
    if cfg.hw.proxy == "roofline":
        return RooflineProxy()
    if folder is None:
        raise ConfigError("hw.proxy=fitted needs the proxy's folder: give --proxy DIR, or set hw.proxy=roofline")
    return load_proxy(folder).eval().requires_grad_(False)


def design_of(cfg: RunConfig, network: VideoViT | VideoAudioAST, hardware: HardwareTerm | None) -> dict[str, Any]:
    """What a finished network keeps, per block, as JSON; and what that costs on the chip of its hardware loss."""
    keep = final_ratios(cfg, network)
    design: dict[str, Any] = {"keep": {name: values.tolist() for name, values in vars(keep).items()}}
    if hardware is not None:
        with torch.no_grad():
            costs = single_device_costs(workload_segments(cfg.hw, keep), hardware.proxy, hardware.chip)
        design |= {"chip": cfg.hw.chip, "workload": cfg.hw.workload.model_dump(), **costs.totals()}
        design["dense"] = dict(hardware.reference)
    return design


@torch.no_grad()
def final_ratios(cfg: RunConfig, network: VideoViT | VideoAudioAST) -> KeepRatios:
    """The hard ratios of a network as it is used in evaluation; all ones without a pruner."""
    if not has_pruner(network):
        return keep_everything(cfg.model.depth)
    pruner, _ = gated_part(network)
    was_training = pruner.training
    values = pruner.eval().gates()
    pruner.train(was_training)
    gates = {"keep_ratio": torch.tensor(pruner.final_keep_shares())}
    if values is not None:
        gates |= {"head": values.head, "channel": values.channel, "block": values.block}
    return keep_ratios(gates, pruner.cfg.prune_layers, cfg.model.depth)


def uniform_gates(cfg: RunConfig, tokens: Float[Tensor, " L"], target_ramp: float) -> KeepRatios:
    """Every block gated alike, at the share `target_ramp` of `ast.target_*`, with these tokens."""
    ast, ones = cfg.ast, torch.ones_like(tokens)
    heads, channels, blocks = (
        ones * (1.0 - target_ramp * target) for target in (ast.target_head, ast.target_ch, ast.target_block)
    )
    return KeepRatios(tokens.detach(), heads, channels, blocks, blocks)


def total_flops(cfg: RunConfig, keep: KeepRatios) -> Float[Tensor, ""]:
    """FLOPs of the deployment workload for one batch."""
    kernels = workload_costs(cfg.hw.workload, keep).kernels
    return (kernels.count * kernels.flops).sum()


def keep_ratios(gates: Gates, prune_layers: list[int], depth: int) -> KeepRatios:
    """What a network of `depth` blocks keeps, live: shares per block from gates per head, channel and branch.

    A branch with nothing open inside is closed, as in the network itself.
    """
    tokens = [gates["keep_ratio"].new_ones(())] * depth
    for place, layer in enumerate(prune_layers):
        tokens[layer:] = [gates["keep_ratio"][place]] * (depth - layer)
    shares = torch.stack(tokens)
    if "head" not in gates:
        ones = torch.ones_like(shares)
        return KeepRatios(at_most_one(shares), ones, ones, ones, ones)
    inside = torch.stack([gates["head"].mean(dim=1), gates["channel"].mean(dim=1)])
    branches = gates["block"].T * (inside.detach() > 0)
    return KeepRatios(*at_most_one(torch.cat([shares[None], inside, branches])).unbind())


def at_most_one(values: Float[Tensor, "... L"]) -> Float[Tensor, "... L"]:
    """Soft gates pass a little more than 1 where their logit rises; a cost counts them as 1, gradient kept."""
    return values - (values - values.clamp_max(1.0)).detach()
