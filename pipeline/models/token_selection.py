"""Which tokens stay: exactly k of each sample, a soft mask around the threshold between them and the rest.

Departures from the spec's §6.5: k is rounded and at least one (truncation drops everything at small shares), ties are
broken by position so that never more than k stay, and the threshold lies midway between the k-th and the next score,
so that the k-th token itself is clearly kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Below any score: tokens that are not there.
NEVER = -1e4


@dataclass(frozen=True)
class Selection:
    """The k tokens of each sample that stay.

    Attributes:
        index: their flat positions, rising.
        kept: the same as a mask over all S tokens.
        ordered: all scores, falling.
        threshold: midway between the k-th and the next score.
    """

    index: Int[Tensor, "B k"]
    kept: Bool[Tensor, "B S"]
    ordered: Float[Tensor, "B S"]
    threshold: Float[Tensor, " B"]


def kept_count(share: float, tokens: int) -> int:
    """How many of `tokens` a kept share means: rounded half up, at least one."""
    return min(tokens, max(1, math.floor(share * tokens + 0.5)))


def select_top(scores: Float[Tensor, "B S"], k: int) -> Selection:
    """The k highest scores of each sample; among equal ones the first position wins."""
    ordered, order = scores.sort(dim=1, descending=True, stable=True)
    index = order[:, :k].sort(dim=1).values
    kept = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, index, 1)
    following = ordered[:, k] if k < scores.shape[1] else ordered[:, k - 1] - 1.0
    return Selection(index, kept, ordered, (ordered[:, k - 1] + following) / 2)


def threshold_slope(ordered: Float[Tensor, "B S"], k: int) -> Float[Tensor, " B"]:
    """How the threshold moves with the kept share: the slope of the scores' quantile function around k (<= 0)."""
    total = ordered.shape[1]
    reach = max(1, total // 16)
    above, below = max(0, k - 1 - reach), min(total - 1, k - 1 + reach)
    lowest = ordered.masked_fill(ordered <= NEVER / 2, torch.inf).amin(dim=1, keepdim=True)
    ordered = ordered.maximum(lowest)
    return (ordered[:, below] - ordered[:, above]) * total / max(1, below - above)


def frame_uniform(scores: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
    """Scores whose top k take equally many tokens (to within one) from each frame, the best of each by `scores`."""
    rank = scores.argsort(dim=2, descending=True, stable=True).argsort(dim=2).to(scores.dtype)
    low, high = scores.amin(dim=(1, 2), keepdim=True), scores.amax(dim=(1, 2), keepdim=True)
    return -rank + 0.5 * (scores - low) / (high - low).clamp_min(1e-6)


def random_scores(scores: Float[Tensor, "B T N"], training: bool) -> Float[Tensor, "B T N"]:
    """Scores without meaning: new ones at every training step, one fixed pattern of places in evaluation."""
    if training:
        return torch.rand_like(scores)
    pattern = torch.rand(scores.shape[1:], generator=torch.Generator().manual_seed(0))
    return pattern.to(scores).expand_as(scores)
