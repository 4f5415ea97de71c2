"""Operations that an FPGA computes exactly: shifts, comparisons and counts instead of divisions and sigmoids.

Each stands in for one the hardware lacks (cascade plan, part 1); those of them that the plan names wrongly are
put right here: `(mask > 0).sum()` misses negative entries, so non-zeros are counted by `mask != 0`.
"""

from __future__ import annotations

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn


def shift_of(length: int) -> int:
    """The smallest k with 2**k >= length: summing `length` values and shifting right by k cannot overflow."""
    return (length - 1).bit_length()


def power_of_two_mean(values: Float[Tensor, "... T"]) -> Float[Tensor, ...]:
    """Sum over the last axis, shifted right by `shift_of(T)`.

    The mean itself where T is a power of two; elsewhere T / 2**k times the mean, a constant factor that the
    following linear layer absorbs, so that no division is left.
    """
    return values.sum(-1) * 2.0 ** -shift_of(values.shape[-1])


def hard_sigmoid(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """clip(x / 4 + 1 / 2, 0, 1): the sigmoid's tangent at 0 as a shift (the usual slope of 1/6 is none)."""
    return (0.25 * values + 0.5).clamp(0.0, 1.0)


def max_abs(values: Float[Tensor, "... T"]) -> Float[Tensor, ...]:
    """The infinity norm over the last axis, as the largest magnitude."""
    return values.abs().amax(-1)


def count_nonzero(values: Shaped[Tensor, "... T"]) -> Int[Tensor, ...]:
    """How many entries of the last axis differ from zero, whatever their sign."""
    return (values != 0).sum(-1)


class PowerOfTwoMean(nn.Module):
    """`power_of_two_mean` as a layer: global pooling over time."""

    def forward(self, values: Float[Tensor, "B C T"]) -> Float[Tensor, "B C"]:
        """Pool over time."""
        return power_of_two_mean(values)
