"""Reductions that the pruner is compared with and that read the attention of the block before: EViT's and ToMe's."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .ast2_pruner import ASTPruner
from .cls_attention import fuse_inattentive
from .token_gating import TokenGating
from .token_merging import merge_similar
from .token_scores import TokenScores
from .token_sequence import TokenSequence
from .vit_blocks import Attended


def reduce_by_attention(
    sequence: TokenSequence, pruner: ASTPruner, place: int, attended: Attended
) -> tuple[TokenSequence, TokenGating]:
    """One prune layer of a rival: fewer tokens, in training as in evaluation.

    Args:
        sequence: picture tokens and CLS.
        pruner: says how many tokens stay, and by what they are chosen.
        place: which of the prune layers this is.
        attended: queries and keys of the block before.
    """
    cls, tokens = sequence.tokens[:, :1], sequence.tokens[:, 1:]
    count = pruner.kept_now(place, sequence.frames * sequence.per_frame)
    if pruner.cfg.selector == "cls_attention":
        fused = fuse_inattentive(tokens, attended, count)
        reduced, row, bias, score = fused.tokens, fused.row, sequence.key_bias, fused.attention
    else:
        size = torch.ones_like(tokens[:, :, 0]) if sequence.key_bias is None else sequence.key_bias.exp()
        merged = merge_similar(tokens, attended.key[:, :, 1:], size, count)
        reduced, row, bias, score = merged.tokens, merged.row, merged.size.log(), size
    index = row if sequence.index is None else sequence.index.gather(1, row)
    smaller = replace(sequence, tokens=torch.cat([cls, reduced], dim=1), key_bias=bias, index=index)
    return smaller, _gating(sequence, index, score)


def _gating(sequence: TokenSequence, index: Int[Tensor, "B k"], score: Float[Tensor, "B S"]) -> TokenGating:
    """What was decided, as the pruner tells it; a rival has no soft mask, and no terms of time and space."""
    batch, grid = len(index), (sequence.frames, sequence.per_frame)
    places = grid[0] * grid[1]
    kept = torch.zeros(batch, places, dtype=torch.bool, device=index.device).scatter(1, index, 1).unflatten(1, grid)
    on_grid = score if sequence.index is None else score.new_zeros(batch, places).scatter(1, sequence.index, score)
    logit = torch.where(kept, torch.inf, -torch.inf).to(score.dtype)
    unknown = score.new_full((1,), torch.nan)
    return TokenGating(
        index=index.sort(dim=1).values,
        kept=kept,
        logit=logit,
        keep_ratio=score.new_tensor(index.shape[1] / places),
        gated=grid[1],
        scores=TokenScores(
            on_grid.detach().unflatten(1, grid),
            time=unknown.expand(batch, grid[1]),
            space=unknown.expand(batch, grid[0], 1),
            entropy=unknown.expand(batch, grid[1]),
        ),
    )
