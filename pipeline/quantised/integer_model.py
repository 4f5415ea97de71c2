"""The integer cascade: the one source of truth that every back end is generated from.

A network is a list of layers, each named and in the order of execution. A layer reads tensors by the name of the
layer that made them (`WINDOW` is the quantised input) and writes one tensor of signed integers [channels, time],
whose values are integer * 2**exponent. A layer that computes has an exact accumulator; its output is

    clamp(round_half_even(accumulator / 2**shift), low, high),   shift = output.exponent - accumulator.exponent >= 0

A ReLU is `low == 0`. Logits are an accumulator itself: shift 0, and `low`, `high` are its proved range. There is no
division, no float and no overflow: `Accumulator.bits` hold every partial sum, in whatever order it is taken
(`accumulators.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

WINDOW = "window"
Axis = Literal["channels", "time"]
# float64 holds every integer up to 2**53, so networks this wide are exact in float64 as well.
MAX_ACCUMULATOR_BITS = 53


@dataclass(frozen=True)
class Format:
    """What a tensor holds: [channels, time] integers in [low, high], stored in `bits` of two's complement."""

    channels: int
    time: int
    exponent: int
    bits: int
    low: int
    high: int


@dataclass(frozen=True)
class Accumulator:
    """Unit 2**exponent of a layer's sums, and two's complement bits that hold each of their partial sums."""

    exponent: int
    bits: int


@dataclass(frozen=True)
class SelectElectrode:
    """One channel of the input: [C, T] -> [1, T]; nothing else is read."""

    name: str
    inputs: tuple[str]
    output: Format
    electrode: int


@dataclass(frozen=True)
class Conv1d:
    """Cross-correlation with zero padding, as torch.nn.Conv1d; a linear layer is one of kernel 1 over one step.

    accumulator[f, t] = bias[f] + sum over c, k of weight[f, c, k] * input[first(f) + c, t * stride + k - padding],
    where first(f) is the first channel of the group of filter f.
    """

    name: str
    inputs: tuple[str]
    output: Format
    accumulator: Accumulator
    weight: Int[np.ndarray, "F C K"]
    bias: Int[np.ndarray, " F"]
    weight_exponent: int
    weight_bits: int
    stride: int
    padding: int
    groups: int


@dataclass(frozen=True)
class AveragePool:
    """Sums of `size` (a power of two) consecutive steps, stride `size`; a remainder of the time is dropped.

    accumulator.exponent = input exponent - log2(size): the mean without a division.
    """

    name: str
    inputs: tuple[str]
    output: Format
    accumulator: Accumulator
    size: int


@dataclass(frozen=True)
class Sum:
    """Sum over one axis, which keeps length 1.

    accumulator.exponent is that of the input (a sum), or lower by k = ceil(log2(length)): the mean over 2**k values.
    """

    name: str
    inputs: tuple[str]
    output: Format
    accumulator: Accumulator
    axis: Axis


@dataclass(frozen=True)
class Maximum:
    """Largest value over one axis, which keeps length 1; output in the input's units."""

    name: str
    inputs: tuple[str]
    output: Format
    axis: Axis


@dataclass(frozen=True)
class Concatenate:
    """Two tensors of one exponent behind each other along an axis."""

    name: str
    inputs: tuple[str, str]
    output: Format
    axis: Axis


@dataclass(frozen=True)
class HardSigmoid:
    """clip(x / 4 + 1 / 2, 0, 1): accumulator = input + half, of exponent (input exponent - 2).

    `half` is 2**(-1 - accumulator.exponent); output.high = 2**-output.exponent stands for 1.
    """

    name: str
    inputs: tuple[str]
    output: Format
    accumulator: Accumulator
    half: int


@dataclass(frozen=True)
class Multiply:
    """Elementwise product; the second tensor is a gate of length 1 along channels or time and is repeated there."""

    name: str
    inputs: tuple[str, str]
    output: Format
    accumulator: Accumulator


@dataclass(frozen=True)
class FourierBands:
    """log2 of the energy in bands of an integer Fourier transform: [1, T] -> [bands, 1].

    product[r]  = round_half_even(sum_t table[r, t] * input[t] / 2**product_shift), rows: cosines, then sines, of F bins
    energy[b]   = floor + sum of product[r]**2 over both rows r of the bins of band b
    p           = position of the highest set bit of energy[b] (>= 0)
    mantissa    = the log2(len(log2_table)) bits below it (shifted left by zeros where p is too small)
    accumulator = p * 2**log2_bits + log2_table[mantissa] + offset, of exponent -log2_bits

    `accumulator` is the width of that last sum; `product_bits` (of the Fourier sums) and `energy_bits` are those of
    the sums before it. `bins_per_band` counts the F bins of each band in order.
    """

    name: str
    inputs: tuple[str]
    output: Format
    accumulator: Accumulator
    table: Int[np.ndarray, "R T"]
    bins_per_band: tuple[int, ...]
    product_shift: int
    product_bits: int
    energy_bits: int
    floor: int
    log2_bits: int
    log2_table: Int[np.ndarray, " L"]
    offset: int


@dataclass(frozen=True)
class WindowStatistics:
    """Variance, peak and rate of zero crossings about the mean: [1, T] -> [3, 1]; T is a power of two.

    mean      = round_half_even(sum_t input[t] / T),  centred[t] = input[t] - mean
    variance  = sum_t centred[t]**2,                  exponent 2 * input exponent - log2(T)
    peak      = max_t |centred[t]|,                   exponent that of the input
    crossings = number of t with (centred[t] >= 0) != (centred[t+1] >= 0), exponent -log2(T)

    Each is requantised by its own shift of `shifts` (>= 0) to the common output; `accumulator_bits` is the widest.
    """

    name: str
    inputs: tuple[str]
    output: Format
    accumulator_bits: int
    shifts: tuple[int, int, int]


Layer = (
    SelectElectrode
    | Conv1d
    | AveragePool
    | Sum
    | Maximum
    | Concatenate
    | HardSigmoid
    | Multiply
    | FourierBands
    | WindowStatistics
)
LAYER_KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Layer)}


@dataclass(frozen=True)
class IntegerNetwork:
    """Layers in the order of execution; the last one's output [2, 1] are the logits of (interictal, ictal)."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def logits(self) -> Format:
        """What the logits hold; their exponent turns them into the trained model's units."""
        return self.layers[-1].output


@dataclass(frozen=True)
class InputQuantiser:
    """Standardised samples to integers: clamp(round_half_even(x / 2**exponent)) to `window.bits`."""

    window: Format
    sample_rate_hz: float


@dataclass(frozen=True)
class Routing:
    """The complex network is asked unless |l1 - l0| > margin, all in integers of the simple network's logits.

    `difference_bits` hold l1 - l0. A cascade that always asks has the largest |l1 - l0| there is as its margin.
    `threshold` is the same margin as tau = tanh(margin * 2**exponent / 2), for the reader; nothing computes with it.
    """

    margin: int
    difference_bits: int
    threshold: float


@dataclass(frozen=True)
class IntegerModel:
    """The cascade of one patient: what both networks compute of a quantised window [C, T], and who is believed."""

    patient: str
    input: InputQuantiser
    simple: IntegerNetwork
    complex: IntegerNetwork
    routing: Routing

    @property
    def networks(self) -> tuple[IntegerNetwork, IntegerNetwork]:
        """The simple and the complex network."""
        return self.simple, self.complex
