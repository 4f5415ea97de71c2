"""What a prune layer decided, and what that means for each modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from .token_scores import TokenScores

Slices = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class TokenGating:
    """What one prune layer decided; S = T·N tokens, k kept.

    Attributes:
        index: flat positions t·N + n of kept tokens, rising.
        kept: mask over all tokens; exempt ones (sound with `audio: keep`) are kept.
        logit: of the soft mask, infinite for exempt tokens; live in the modality logits and a learned kept share.
        keep_ratio: share of gated tokens that stays; its gradient is that of a learned kept share.
        gated: places per frame that compete, [0, gated).
        scores: the score's terms.
    """

    index: Int[Tensor, "B k"]
    kept: Bool[Tensor, "B T N"]
    logit: Float[Tensor, "B T N"]
    keep_ratio: Float[Tensor, ""]
    gated: int
    scores: TokenScores

    @property
    def mask(self) -> Float[Tensor, "B T N"]:
        """The soft mask."""
        return self.logit.sigmoid()

    @property
    def log_mask(self) -> Float[Tensor, "B T N"]:
        """Log of the soft mask, computed without rounding to -inf."""
        return functional.logsigmoid(self.logit)

    def sparsity(self) -> Float[Tensor, ""]:
        """Share of gated tokens that are dropped."""
        return 1.0 - self.kept[:, :, : self.gated].float().mean()

    def soft_sparsity(self) -> Float[Tensor, ""]:
        """What the soft mask takes from gated tokens (the spec's `sparsity_token`); live."""
        return 1.0 - self.mask[:, :, : self.gated].mean()


def modal_stats(gating: TokenGating, slices: Slices) -> dict[str, dict[str, Tensor]]:
    """What the gating took from each modality, and its mean time term (spec §6.6-6)."""
    return {
        name: {
            "sparsity": 1.0 - gating.mask[:, :, start:stop].mean(),
            "sparsity_hard": 1.0 - gating.kept[:, :, start:stop].float().mean(),
            "H_time_mean": gating.scores.time[:, start:stop].mean(),
        }
        for name, (start, stop) in slices.items()
        if stop <= gating.gated
    }


def flat_places(index: Int[Tensor, "B k"], frames: int, gated: int, per_frame: int) -> Int[Tensor, "B K"]:
    """Flat positions among all tokens of those kept among the gated ones, with all exempt ones, rising."""
    if gated == per_frame:
        return index
    index = index // gated * per_frame + index % gated
    exempt = torch.arange(frames * per_frame, device=index.device).unflatten(0, (frames, per_frame))[:, gated:]
    return torch.cat([index, exempt.flatten().expand(len(index), -1)], dim=1).sort(dim=1).values
