"""Tokens that CLS attends to stay, all others become one (EViT: Liang et al. 2022, "Not all patches are what you
need: expediting vision transformers via token reorganizations").

As in EViT, scores are the attention of the CLS query averaged over heads, nothing is learned, and the dropped tokens
are fused into one by the same attention. Two departures, so that rivals differ in their choice alone: tokens go where
the pruner's go (behind a block's MLP, where EViT drops before it), and the fused token is one of the k that stay (EViT
has it on top).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .token_selection import select_top
from .vit_blocks import Attended


class Fused(NamedTuple):
    """The k tokens that stay, the last by attention of which now holds all that were dropped.

    Attributes:
        tokens: their features.
        row: where each was in the sequence, rising.
        attention: of CLS to every token before the reduction.
    """

    tokens: Float[Tensor, "B k D"]
    row: Int[Tensor, "B k"]
    attention: Float[Tensor, "B S"]


@torch.no_grad()
def cls_attention(attended: Attended) -> Float[Tensor, "B S"]:
    """How much CLS attends to each other token, averaged over heads; CLS itself takes the rest to one."""
    query, key = attended
    scores = query[:, :, :1] @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return scores.softmax(dim=-1).mean(dim=1)[:, 0, 1:]


def fuse_inattentive(tokens: Float[Tensor, "B S D"], attended: Attended, k: int) -> Fused:
    """Keep k - 1 tokens of the S, and the attention-weighted mean of the others in the place of the k-th."""
    attention = cls_attention(attended)
    if k == tokens.shape[1]:
        everything = torch.arange(k, device=tokens.device).expand(len(tokens), -1)
        return Fused(tokens, everything, attention)
    order = attention.argsort(dim=1, descending=True, stable=True)
    row = select_top(attention, k).index
    weight = attention.scatter(1, order[:, : k - 1], 0.0)
    mean = torch.einsum("bs,bsd->bd", weight / weight.sum(dim=1, keepdim=True), tokens)
    kept = tokens.gather(1, row.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
    last = row == order[:, k - 1 : k]
    return Fused(torch.where(last.unsqueeze(-1), mean.unsqueeze(1), kept), row, attention)
