"""The reference executor of an integer model: numpy, exact, and the definition of what every back end must return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ..errors import DataError
from .integer_arithmetic import shift_right
from .integer_model import (
    WINDOW,
    AveragePool,
    Axis,
    Concatenate,
    Conv1d,
    Format,
    FourierBands,
    HardSigmoid,
    InputQuantiser,
    IntegerModel,
    IntegerNetwork,
    Maximum,
    Multiply,
    SelectElectrode,
    Sum,
    WindowStatistics,
)

# Windows computed together: what they need stays in the cache of a core.
BATCH = 32

# Channels and time change from layer to layer.
Tensor = Int[np.ndarray, "N _ _"]


@dataclass(frozen=True)
class IntegerOutput:
    """Logits of both networks for every window, and which windows are handed to the complex one."""

    simple: Int[np.ndarray, "N 2"]
    complex: Int[np.ndarray, "N 2"]
    routed: Bool[np.ndarray, " N"]

    @property
    def logits(self) -> Int[np.ndarray, "N 2"]:
        """The cascade's: the complex network's where routed. The two have different exponents."""
        return np.where(self.routed[:, None], self.complex, self.simple)


def quantise_windows(quantiser: InputQuantiser, signal: np.ndarray) -> Int[np.ndarray, "N C T"]:
    """Standardised samples [N, C, T] as the integers that the networks read, int16.

    Raises:
        DataError: another shape, or a sample that is not finite.
    """
    window = quantiser.window
    _check_shape(window, signal.shape)
    if not np.isfinite(signal).all():
        raise DataError("windows hold NaN or infinite samples; leave those windows out")
    scaled = np.rint(signal.astype(np.float64) * 2.0**-window.exponent)
    return np.clip(scaled, window.low, window.high).astype(np.int16)


def run_integer_model(model: IntegerModel, windows: np.ndarray) -> IntegerOutput:
    """Logits of both networks and the route bit of quantised windows.

    Args:
        model: a checked model, as built or read.
        windows: int16 [N, C, T] from `quantise_windows`.

    Raises:
        DataError: windows of another shape or type, or out of the input's range.
    """
    check_windows(model.input.window, windows)
    simple, complex_ = (run_network(network, windows) for network in model.networks)
    return IntegerOutput(simple, complex_, routed_by(simple, model.routing.margin))


def routed_by(simple: Int[np.ndarray, "N 2"], margin: int) -> Bool[np.ndarray, " N"]:
    """Which windows the simple network leaves to the complex one."""
    return ~(np.abs(simple[:, 1] - simple[:, 0]) > margin)


def check_windows(window: Format, windows: np.ndarray) -> None:
    """Refuse what is not a batch of quantised windows.

    Raises:
        DataError: windows of another shape or type, or out of the input's range.
    """
    if windows.dtype != np.int16:
        raise DataError(f"windows are {windows.dtype}, not int16; quantise them with the model's input quantiser")
    _check_shape(window, windows.shape)
    if windows.size and (windows.min() < window.low or windows.max() > window.high):
        raise DataError(
            f"windows hold {int(windows.min())} to {int(windows.max())}, outside [{window.low}, {window.high}]; "
            "quantise them with the model's input quantiser"
        )


def run_network(network: IntegerNetwork, windows: Int[np.ndarray, "N C T"]) -> Int[np.ndarray, "N 2"]:
    """Logits of one network for checked windows, int64."""
    parts = [
        run_layers(network, windows[start : start + BATCH])[network.layers[-1].name][:, :, 0]
        for start in range(0, len(windows), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)


def run_layers(network: IntegerNetwork, windows: Int[np.ndarray, "N C T"]) -> dict[str, Tensor]:
    """Every tensor of a network, by the name of the layer that made it."""
    tensors: dict[str, Tensor] = {WINDOW: windows.astype(np.int64)}
    for layer in network.layers:
        tensors[layer.name] = _EXECUTORS[type(layer)](layer, *(tensors[name] for name in layer.inputs))
    return tensors


def _check_shape(window: Format, shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[1:] != (window.channels, window.time):
        raise DataError(
            f"windows of shape {list(shape)}; the model reads [N, {window.channels}, {window.time}] (channels, samples)"
        )


def _requantise(accumulator: Tensor, layer: Any) -> Tensor:
    output: Format = layer.output
    shifted = shift_right(accumulator, output.exponent - layer.accumulator.exponent)
    return np.clip(shifted, output.low, output.high)


def _select(layer: SelectElectrode, values: Tensor) -> Tensor:
    return values[:, layer.electrode : layer.electrode + 1]


def _conv1d(layer: Conv1d, values: Tensor) -> Tensor:
    padded = np.pad(values, ((0, 0), (0, 0), (layer.padding, layer.padding)))
    kernel = layer.weight.shape[2]
    patches = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=2)[:, :, :: layer.stride]
    count, channels, steps, _ = patches.shape
    grouped = patches.reshape(count, layer.groups, channels // layer.groups, steps, kernel)
    weight = layer.weight.reshape(layer.groups, -1, *layer.weight.shape[1:])
    # Products of float64 are exact here (accumulators of at most 53 bits) and have a fast matrix product.
    rows = grouped.transpose(1, 0, 3, 2, 4).reshape(layer.groups, count * steps, -1).astype(np.float64)
    columns = weight.reshape(layer.groups, weight.shape[1], -1).astype(np.float64)
    sums = (rows @ columns.transpose(0, 2, 1)).reshape(layer.groups, count, steps, -1).astype(np.int64)
    accumulator = sums.transpose(1, 0, 3, 2).reshape(count, -1, steps) + layer.bias[:, None]
    return _requantise(accumulator, layer)


def _average_pool(layer: AveragePool, values: Tensor) -> Tensor:
    steps = values.shape[2] // layer.size
    sums = values[:, :, : steps * layer.size].reshape(*values.shape[:2], steps, layer.size).sum(-1)
    return _requantise(sums, layer)


def _axis(axis: Axis) -> int:
    return {"channels": 1, "time": 2}[axis]


def _sum(layer: Sum, values: Tensor) -> Tensor:
    return _requantise(values.sum(_axis(layer.axis), keepdims=True), layer)


def _maximum(layer: Maximum, values: Tensor) -> Tensor:
    return values.max(_axis(layer.axis), keepdims=True)


def _concatenate(layer: Concatenate, first: Tensor, second: Tensor) -> Tensor:
    return np.concatenate([first, second], axis=_axis(layer.axis))


def _hard_sigmoid(layer: HardSigmoid, values: Tensor) -> Tensor:
    return _requantise(values + layer.half, layer)


def _multiply(layer: Multiply, values: Tensor, gate: Tensor) -> Tensor:
    return _requantise(values * gate, layer)


def _fourier_bands(layer: FourierBands, values: Tensor) -> Tensor:
    sums = (values[:, 0].astype(np.float64) @ layer.table.T.astype(np.float64)).astype(np.int64)
    product = shift_right(sums, layer.product_shift)
    squares = product * product
    bins = len(layer.table) // 2
    by_bin = squares[:, :bins] + squares[:, bins:]
    starts = np.cumsum([0, *layer.bins_per_band[:-1]])
    energy = np.add.reduceat(by_bin, starts, axis=1) + layer.floor
    return _requantise(_log2(layer, energy)[:, :, None], layer)


def _log2(layer: FourierBands, energy: Int[np.ndarray, "N B"]) -> Int[np.ndarray, "N B"]:
    index_bits = len(layer.log2_table).bit_length() - 1
    # frexp is exact up to 2**53 and gives the position of the highest set bit without a loop.
    position = np.frexp(energy.astype(np.float64))[1].astype(np.int64) - 1
    aligned = np.where(
        position >= index_bits,
        energy >> np.maximum(position - index_bits, 0),
        energy << np.maximum(index_bits - position, 0),
    )
    mantissa = aligned - (1 << index_bits)
    return (position << layer.log2_bits) + layer.log2_table.astype(np.int64)[mantissa] + layer.offset


def _window_statistics(layer: WindowStatistics, values: Tensor) -> Tensor:
    signal = values[:, 0]
    mean = shift_right(signal.sum(-1, keepdims=True), signal.shape[-1].bit_length() - 1)
    centred = signal - mean
    positive = centred >= 0
    features = (
        (centred * centred).sum(-1),
        np.abs(centred).max(-1),
        (positive[:, 1:] != positive[:, :-1]).sum(-1),
    )
    shifted = [shift_right(feature, shift) for feature, shift in zip(features, layer.shifts, strict=True)]
    return np.clip(np.stack(shifted, axis=1), layer.output.low, layer.output.high)[:, :, None]


_EXECUTORS: dict[type, Callable[..., Tensor]] = {
    SelectElectrode: _select,
    Conv1d: _conv1d,
    AveragePool: _average_pool,
    Sum: _sum,
    Maximum: _maximum,
    Concatenate: _concatenate,
    HardSigmoid: _hard_sigmoid,
    Multiply: _multiply,
    FourierBands: _fourier_bands,
    WindowStatistics: _window_statistics,
}
