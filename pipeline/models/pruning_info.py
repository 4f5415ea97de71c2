"""What a pruned forward pass tells its caller: statistics, the loss, live ratios for a hardware loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .ast2_pruner import ASTPruner
from .gates import GateValues
from .token_gating import Slices, TokenGating, modal_stats


def pruning_info(
    gatings: tuple[TokenGating, ...], gates: GateValues | None, pruner: ASTPruner, slices: Slices
) -> dict[str, Any]:
    """The entries that a pruner adds to `info` (spec §5.1-5.2).

    Returns:
        `ast_stats`: scalars `sparsity_token` (share of gated tokens dropped after the last prune layer),
            `sparsity_token_soft` (the same of the soft mask), `sparsity_head`, `sparsity_ch`, `sparsity_block`; the
            last three are absent without gates.
        `L_AST`: the pruner's loss.
        `modal_stats`: {modality: {`sparsity`, `sparsity_hard`, `H_time_mean`}} at the last prune layer.
        `token_index` [B, k, 2]: frame and place (t, n) of the tokens kept after the last prune layer, in order.
        `token_mask` [B, T, N]: the same as a mask.
        `token_scores`: list of [B, T, N], the ranking of each prune layer before modality weights.
        `token_entropy`: [B, N], of each place's mean distribution over the frames at the last prune layer, nat.
        `gates`: live ratios, hard forward and soft backward: `keep_ratio` [prune layers] (cumulative share of gated
            tokens), and with gates `head` [L, H], `channel` [L, mlp_hidden], `block` [L, 2] (attention, MLP).
    """
    last = gatings[-1]
    sparsity = {} if gates is None else gates.sparsity()
    stats = {"sparsity_token": last.sparsity(), "sparsity_token_soft": last.soft_sparsity().detach()}
    ratios: dict[str, Tensor] = {"keep_ratio": torch.stack([gating.keep_ratio for gating in gatings])}
    if gates is not None:
        ratios |= {"head": gates.head, "channel": gates.channel, "block": gates.block}
    per_frame = last.kept.shape[2]
    return {
        "ast_stats": stats | {f"sparsity_{kind}": value.detach() for kind, value in sparsity.items()},
        "L_AST": pruner.compute_L_AST({"token": last.soft_sparsity(), **sparsity}),
        "modal_stats": {
            name: {key: value.detach() for key, value in entry.items()}
            for name, entry in modal_stats(last, slices).items()
        },
        "token_index": torch.stack([last.index // per_frame, last.index % per_frame], dim=-1),
        "token_mask": last.kept,
        "token_scores": [gating.scores.score for gating in gatings],
        "token_entropy": last.scores.entropy,
        "gates": ratios,
    }
