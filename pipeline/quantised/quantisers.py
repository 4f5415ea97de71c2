"""Brevitas quantisers of constant power-of-two scale, and how that scale is found.

A scale is found once, on the folded weights and on training windows, and stays: scales that move while training moves
the weights would move the accumulators' grid, and with it every bias.
"""

from __future__ import annotations

import math
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.inject.enum import ScalingImplType
from brevitas.quant.fixed_point import (
    Int8ActPerTensorFixedPoint,
    Int8BiasPerTensorFixedPointInternalScaling,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from jaxtyping import Float
from torch import Tensor, nn

# Exponents below the one that clips nothing that are tried: at few bits, clipping outliers may pay for finer steps.
TRIED_EXPONENTS = 4
# From here on steps are fine enough, and activations get room for twice what the windows at hand reach.
FINE_BITS = 12
# A bias lies on the grid of its accumulator; Brevitas only needs enough bits to leave it alone there.
BIAS_BITS = 40


def best_exponent(values: Float[Tensor, "*shape"], bits: int, least: int | None = None) -> int:
    """The k whose signed `bits`-bit integers times 2**k are nearest to `values` in the mean square.

    Args:
        values: weights, or activations of some windows.
        bits: two's complement bits.
        least: for activations, the exponent of the accumulator that they come from; no smaller one is chosen.
    """
    flat = values.detach().double().flatten()
    peak = float(flat.abs().max())
    high = 2 ** (bits - 1) - 1
    widest = math.ceil(math.log2(peak / high)) if peak > 0 else -bits
    if least is None:
        return _nearest(flat, [widest - step for step in range(TRIED_EXPONENTS)], high)
    if bits >= FINE_BITS:
        return max(widest + 1, least)
    return _nearest(flat, [max(widest - step, least) for step in range(TRIED_EXPONENTS)], high)


def _nearest(flat: Float[Tensor, " N"], exponents: list[int], high: int) -> int:
    errors = [float((_rounded(flat, exponent, high) - flat).square().mean()) for exponent in exponents]
    return exponents[errors.index(min(errors))]


def _rounded(values: Float[Tensor, " N"], exponent: int, high: int) -> Float[Tensor, " N"]:
    return (values * 2.0**-exponent).round().clamp(-high - 1, high) * 2.0**exponent


def activation_quantiser(exponent: int, bits: int, *, relu: bool) -> nn.Module:
    """Rounds half to even and saturates to `bits` of two's complement; a ReLU keeps the half of it above zero."""
    if relu:
        magnitude = bits - 1
        return qnn.QuantReLU(
            act_quant=Uint8ActPerTensorFixedPoint,
            bit_width=magnitude,
            scaling_impl_type=ScalingImplType.CONST,
            scaling_init=2.0 ** (exponent + magnitude),
        )
    return qnn.QuantIdentity(
        act_quant=Int8ActPerTensorFixedPoint,
        bit_width=bits,
        scaling_impl_type=ScalingImplType.CONST,
        scaling_init=2.0 ** (exponent + bits - 1),
    )


def quantised_convolution(folded: nn.Conv1d, exponent: int, bits: int, accumulator_exponent: int) -> qnn.QuantConv1d:
    """A folded convolution with weights of `bits` at 2**exponent and its bias on the accumulator's grid."""
    layer = qnn.QuantConv1d(
        folded.in_channels,
        folded.out_channels,
        folded.kernel_size[0],
        stride=folded.stride[0],
        padding=int(folded.padding[0]),
        groups=folded.groups,
        bias=True,
        weight_quant=Int8WeightPerTensorFixedPoint,
        weight_bit_width=bits,
        weight_scaling_impl_type=ScalingImplType.CONST,
        weight_scaling_init=2.0 ** (exponent + bits - 1),
        bias_quant=Int8BiasPerTensorFixedPointInternalScaling,
        bias_bit_width=BIAS_BITS,
        bias_scaling_impl_type=ScalingImplType.CONST,
        bias_scaling_init=2.0 ** (accumulator_exponent + BIAS_BITS - 1),
    )
    if folded.bias is None or layer.bias is None:
        raise ValueError("a folded convolution has a bias")
    layer.weight.data.copy_(folded.weight.detach())
    layer.bias.data.copy_(folded.bias.detach())
    return layer


def scale_of(quantiser: Any) -> float:
    """The scale that an activation quantiser, or the weight or bias quantiser of a layer, works with; exact."""
    proxy = getattr(quantiser, "act_quant", quantiser)
    return float(torch.as_tensor(proxy.scale()).double())
