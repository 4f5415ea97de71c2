"""How wide an accumulator must be: worst cases over every input that a tensor's format allows, by interval arithmetic.

Each sum is bounded by the sum of its negative parts and the sum of its positive parts. Any partial sum, in any order,
lies between the two, so a back end may add in the order that suits it.
"""

from __future__ import annotations

import itertools

import numpy as np

from .integer_arithmetic import shift_right, signed_bits
from .integer_model import Conv1d, Format, FourierBands, HardSigmoid, Layer, Multiply, WindowStatistics

Range = tuple[int, int]


def accumulator_range(layer: Layer, inputs: tuple[Format, ...]) -> Range:
    """Bounds of every partial sum of a layer's accumulator, given the formats of its inputs.

    For `FourierBands` those of its last sum; `product_range` and `energy_range` bound the ones before it.
    """
    if isinstance(layer, Conv1d):
        return _conv_range(layer, inputs[0])
    if isinstance(layer, HardSigmoid):
        return min(inputs[0].low, 0), max(inputs[0].high, 0) + layer.half
    if isinstance(layer, Multiply):
        return _product(inputs[0], inputs[1])
    if isinstance(layer, FourierBands):
        return _log2_range(layer, inputs[0])
    if isinstance(layer, WindowStatistics):
        return _statistics_range(inputs[0])
    return tuple_times(inputs[0], _count(layer, inputs[0]))


def product_range(layer: FourierBands, window: Format) -> Range:
    """Bounds of the partial sums of the Fourier products, before their shift."""
    reach = max(-window.low, window.high) * int(np.abs(layer.table.astype(np.int64)).sum(1).max())
    return -reach, reach


def energy_range(layer: FourierBands, window: Format) -> Range:
    """Bounds of the energy sums."""
    reach = np.abs(layer.table.astype(np.int64)).sum(1) * max(-window.low, window.high)
    squares = [int(value) ** 2 for value in shift_right(reach, layer.product_shift)]
    bins = len(layer.table) // 2
    starts = np.cumsum([0, *layer.bins_per_band])
    both = [cosine + sine for cosine, sine in zip(squares[:bins], squares[bins:], strict=True)]
    return 0, layer.floor + max(sum(both[low:high]) for low, high in itertools.pairwise(starts))


def bits_of(bounds: Range) -> int:
    """Two's complement bits that hold a range."""
    return signed_bits(*bounds)


def logit_difference_bits(logits: Format) -> int:
    """Bits of l1 - l0."""
    reach = logits.high - logits.low
    return signed_bits(-reach, reach)


def tuple_times(values: Format, count: int) -> Range:
    """Bounds of a sum of `count` values."""
    return min(values.low, 0) * count, max(values.high, 0) * count


def conv_output_ranges(layer: Conv1d, values: Format) -> tuple[list[int], list[int]]:
    """Per output channel: sums of all negative and of all positive parts, the bias included."""
    weight = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    positive, negative = np.maximum(weight, 0).sum(1), np.minimum(weight, 0).sum(1)
    low, high = min(values.low, 0), max(values.high, 0)
    lowest = positive * low + negative * high + np.minimum(layer.bias, 0)
    highest = positive * high + negative * low + np.maximum(layer.bias, 0)
    return [int(value) for value in lowest], [int(value) for value in highest]


def _conv_range(layer: Conv1d, values: Format) -> Range:
    lowest, highest = conv_output_ranges(layer, values)
    return min(lowest), max(highest)


def _product(values: Format, gate: Format) -> Range:
    corners = [a * b for a in (values.low, values.high) for b in (gate.low, gate.high)]
    return min(corners), max(corners)


def _log2_range(layer: FourierBands, window: Format) -> Range:
    highest_bit = energy_range(layer, window)[1].bit_length() - 1
    reach = (highest_bit << layer.log2_bits) + int(layer.log2_table.max())
    return min(layer.offset, 0), reach + max(layer.offset, 0)


def _statistics_range(window: Format) -> Range:
    # |sample - mean| is at most the whole range of a sample, the mean being one of its values.
    spread = window.high - window.low
    return min(window.low * window.time, -spread), max(spread * spread, window.high) * window.time


def _count(layer: Layer, values: Format) -> int:
    size = getattr(layer, "size", None)
    if size is not None:
        return int(size)
    return {"channels": values.channels, "time": values.time}[getattr(layer, "axis", "time")]
