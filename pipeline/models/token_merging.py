"""Merging similar tokens (ToMe: Bolya et al. 2023, "Token merging: your ViT but faster").

As in ToMe: every second token looks for the most similar one of the others by the mean of its keys over heads, the most
similar pairs are averaged by size, and attention is proportional to size (its logarithm is the key bias, which weighs a
mean pool too). CLS never merges. Two departures: tokens merge where the pruner's go (behind a block's MLP, where ToMe
merges before it), and where more than half must go at one place there are several rounds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


class Merged(NamedTuple):
    """Tokens after merging.

    Attributes:
        tokens: averages by size.
        size: how many tokens each stands for.
        row: where one of them was in the sequence (the one the others merged into); in no order.
    """

    tokens: Float[Tensor, "B k D"]
    size: Float[Tensor, "B k"]
    row: Int[Tensor, "B k"]


def merge_similar(
    tokens: Float[Tensor, "B S D"], key: Float[Tensor, "B H S d"], size: Float[Tensor, "B S"], k: int
) -> Merged:
    """Merge S tokens into k.

    Args:
        tokens: features, without CLS.
        key: their keys in the attention of the block before.
        size: how many tokens each stands for already.
        k: tokens that are left.
    """
    metric = key.detach().mean(dim=1)
    row = torch.arange(tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
    merged = Merged(tokens, size, row)
    while merged.tokens.shape[1] > k:
        pairs = min(merged.tokens.shape[1] - k, merged.tokens.shape[1] // 2)
        merged, metric = _one_round(merged, metric, pairs)
    return merged


def _one_round(old: Merged, metric: Float[Tensor, "B S d"], pairs: int) -> tuple[Merged, Float[Tensor, "B _ d"]]:
    """Merge the `pairs` most similar pairs of an odd and an even token: at most half of all tokens go."""
    direction = functional.normalize(metric, dim=-1)
    # ToMe alternates from CLS on, so the first of the others is searched.
    similarity, partner = (direction[:, 1::2] @ direction[:, ::2].transpose(1, 2)).max(dim=-1)
    order = similarity.argsort(dim=1, descending=True)
    source, stays = order[:, :pairs], order[:, pairs:]
    target = partner.gather(1, source)

    def merged(values: Float[Tensor, "B S C"]) -> Float[Tensor, "B _ C"]:
        searching, searched = values[:, 1::2], values[:, ::2]
        width = values.shape[-1]
        gone = searching.gather(1, source.unsqueeze(-1).expand(-1, -1, width))
        left = searching.gather(1, stays.unsqueeze(-1).expand(-1, -1, width))
        return torch.cat([left, searched.scatter_add(1, target.unsqueeze(-1).expand(-1, -1, width), gone)], dim=1)

    weight = old.size.unsqueeze(-1)
    size = merged(weight)
    row = torch.cat([old.row[:, 1::2].gather(1, stays), old.row[:, ::2]], dim=1)
    return Merged(merged(old.tokens * weight) / size, size.squeeze(-1), row), merged(metric * weight) / size
