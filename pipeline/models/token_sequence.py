"""The tokens that are still in the computation, and how a prune layer takes some out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .ast2_pruner import ASTPruner
from .token_gating import Slices, TokenGating


@dataclass(frozen=True)
class TokenSequence:
    """CLS and S tokens of each sample.

    Attributes:
        tokens: CLS first.
        key_bias: logarithm of how much each token but CLS counts; None means all fully.
        index: flat place t·N + n of each token but CLS, rising; None means all T·N in order.
        frames, per_frame: T and N.
    """

    tokens: Float[Tensor, "B _ D"]
    key_bias: Float[Tensor, "B S"] | None
    index: Int[Tensor, "B S"] | None
    frames: int
    per_frame: int

    def updated(self, tokens: Float[Tensor, "B _ D"]) -> TokenSequence:
        """The same tokens with other features."""
        return replace(self, tokens=tokens)

    def on_grid(self) -> Float[Tensor, "B T N D"]:
        """Features by frame and place; zero where a token is gone."""
        features = self.tokens[:, 1:]
        if self.index is not None:
            place = self.index.unsqueeze(-1).expand_as(features)
            empty = features.new_zeros(len(features), self.frames * self.per_frame, features.shape[-1])
            features = empty.scatter(1, place, features)
        return features.unflatten(1, (self.frames, self.per_frame))

    def available(self) -> Bool[Tensor, "B T N"] | None:
        """Which places hold a token that counts; None means all."""
        if self.key_bias is None and self.index is None:
            return None
        counts = (
            torch.ones(self.tokens.shape[0], self.tokens.shape[1] - 1, dtype=torch.bool, device=self.tokens.device)
            if self.key_bias is None
            else self.key_bias > -torch.inf
        )
        if self.index is not None:
            counts = counts.new_zeros(len(counts), self.frames * self.per_frame).scatter(1, self.index, counts)
        return counts.unflatten(1, (self.frames, self.per_frame))


def drop_tokens(
    sequence: TokenSequence, pruner: ASTPruner, place: int, slices: Slices
) -> tuple[TokenSequence, TokenGating, Float[Tensor, "B S"] | None]:
    """One prune layer: hide tokens as keys in training, gather the kept ones in evaluation, or multiply by the mask.

    Returns:
        the sequence, what was decided, and the key bias of the next block. In training that bias lets gradients
        through to the score's parameters, if it has any (straight-through: 0 or -inf forward, the soft mask's logarithm
        backward). Later blocks use the bias without gradient, which the fast attention kernel asks for.
    """
    gating = pruner.gate_tokens(sequence.on_grid(), slices, available=sequence.available(), place=place)
    if pruner.cfg.mask_site == "value":
        cls, tokens = sequence.tokens[:, :1], sequence.tokens[:, 1:]
        masked = torch.cat([cls, tokens * gating.mask.flatten(1).unsqueeze(-1)], dim=1)
        return sequence.updated(masked), gating, sequence.key_bias
    if not pruner.training:
        gathered = _gathered(sequence, gating.index)
        return gathered, gating, gathered.key_bias
    hidden = torch.zeros_like(gating.log_mask).masked_fill(~gating.kept, -torch.inf).flatten(1).detach()
    bias = hidden if sequence.key_bias is None else hidden + sequence.key_bias
    live = bias
    if gating.log_mask.requires_grad:
        log_mask = gating.log_mask.flatten(1)
        live = bias + (log_mask - log_mask.detach())
    return replace(sequence, key_bias=bias), gating, live


def _gathered(sequence: TokenSequence, index: Int[Tensor, "B k"]) -> TokenSequence:
    """The tokens at the flat places `index`, all of which are in the sequence."""
    batch, length = sequence.tokens.shape[:2]
    row = index
    if sequence.index is not None:
        order = torch.arange(length - 1, device=index.device).expand(batch, -1)
        table = torch.zeros(batch, sequence.frames * sequence.per_frame, dtype=index.dtype, device=index.device)
        row = table.scatter(1, sequence.index, order).gather(1, index)
    with_cls = torch.nn.functional.pad(row + 1, (1, 0))
    start = torch.arange(batch, device=index.device).unsqueeze(1) * length
    tokens = sequence.tokens.flatten(0, 1).index_select(0, (with_cls + start).flatten()).unflatten(0, (batch, -1))
    bias = None if sequence.key_bias is None else sequence.key_bias.gather(1, row)
    return replace(sequence, tokens=tokens, key_bias=bias, index=index)
