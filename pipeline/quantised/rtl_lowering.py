"""From the layers of a simple network to the passes of the serial engine; what it cannot do is refused by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int

from ..errors import DataError
from .accumulators import accumulator_range, product_range
from .integer_arithmetic import shift_right
from .integer_model import (
    WINDOW,
    AveragePool,
    Conv1d,
    Format,
    FourierBands,
    IntegerNetwork,
    SelectElectrode,
    Sum,
    WindowStatistics,
)
from .rtl_program import CENTRED, EnginePass, Operand

NARROW_BITS, WIDE_BITS = 8, 16
MEND = "choose simple model A, A_lite, B or C, or use the C++ or ONNX back end"


def lower_network(network: IntegerNetwork) -> tuple[EnginePass, ...]:
    """Passes in the order of execution, with addresses of the activation memory.

    A pass reads what the one before it wrote, so two halves of the memory take turns.

    Raises:
        DataError: a layer, or an arrangement of layers, that the engine has no passes for.
    """
    select, *layers = network.layers
    _check_chain(network)
    passes: list[EnginePass] = []
    values = inputs = select.output
    for layer in layers:
        lowered = _LOWERINGS[type(layer)](layer, values)
        if values is select.output:
            lowered = [replace(each, reads_window=each.region == 0) for each in lowered]
        start = passes[-1].region + 1 if passes else 0
        passes += [replace(each, region=(start + each.region) % 2) for each in lowered]
        values, inputs = layer.output, values
    _check_logits(layers[-1], inputs, network.name)
    passes[-1] = replace(passes[-1], to_logits=True, low=0, high=0)
    return _with_bases(passes)


def electrode_of(network: IntegerNetwork) -> int:
    """The electrode that is kept."""
    select = network.layers[0]
    if not isinstance(select, SelectElectrode):
        raise DataError(f"{network.name}.{select.name}: RTL begins with SelectElectrode; {MEND}")
    return select.electrode


def _check_chain(network: IntegerNetwork) -> None:
    electrode_of(network)
    if not isinstance(network.layers[-1], Conv1d) or len(network.layers) < 2:
        last = network.layers[-1]
        raise DataError(f"{network.name}.{last.name}: RTL takes logits from a Conv1d (linear layer) only; {MEND}")
    previous = WINDOW
    for layer in network.layers:
        where = f"{network.name}.{layer.name}"
        if layer is not network.layers[0] and type(layer) not in _LOWERINGS:
            known = ", ".join(sorted(kind.__name__ for kind in _LOWERINGS))
            raise DataError(f"{where}: {type(layer).__name__} has no RTL (it knows {known}); {MEND}")
        if layer.inputs != (previous,):
            raise DataError(f"{where}: reads {list(layer.inputs)}, RTL only the layer before it, '{previous}'; {MEND}")
        if isinstance(layer, FourierBands | WindowStatistics) and previous != network.layers[0].name:
            raise DataError(f"{where}: RTL reads {type(layer).__name__} from the window only; {MEND}")
        previous = layer.name


def _check_logits(layer: Any, inputs: Format, network: str) -> None:
    output = layer.output
    if output.exponent != layer.accumulator.exponent or (output.low, output.high) != accumulator_range(
        layer, (inputs,)
    ):
        raise DataError(
            f"{network}.{layer.name}: logits of exponent {output.exponent} in [{output.low}, {output.high}]; RTL gives "
            "the last accumulator itself; leave its output unquantised"
        )


def _requantisation(layer: Any) -> dict[str, Any]:
    output: Format = layer.output
    shift = output.exponent - layer.accumulator.exponent
    return {"shift": shift, "low": output.low, "high": output.high, "sum_bits": layer.accumulator.bits}


def _conv1d(layer: Conv1d, values: Format) -> list[EnginePass]:
    if layer.padding or layer.groups != 1:
        raise DataError(
            f"{layer.name}: padding={layer.padding}, groups={layer.groups}; RTL convolves without either; {MEND}"
        )
    if layer.weight_bits > WIDE_BITS:
        raise DataError(f"{layer.name}: weights of {layer.weight_bits} bits, RTL has {WIDE_BITS}; quantise with fewer")
    filters, channels, taps = layer.weight.shape
    return [
        EnginePass(
            layer.name,
            filters,
            layer.output.time,
            channels,
            taps,
            Operand.NARROW if layer.weight_bits <= NARROW_BITS else Operand.WIDE,
            position_step=layer.stride,
            channel_step=values.time,
            weights=layer.weight.reshape(filters, -1),
            biases=tuple(int(bias) for bias in layer.bias),
            **_requantisation(layer),
        )
    ]


def _average_pool(layer: AveragePool, values: Format) -> list[EnginePass]:
    return [
        EnginePass(
            layer.name,
            values.channels,
            layer.output.time,
            1,
            layer.size,
            Operand.ONE,
            output_step=values.time,
            position_step=layer.size,
            **_requantisation(layer),
        )
    ]


def _sum(layer: Sum, values: Format) -> list[EnginePass]:
    over_time = layer.axis == "time"
    return [
        EnginePass(
            layer.name,
            values.channels if over_time else 1,
            1 if over_time else values.time,
            1 if over_time else values.channels,
            values.time if over_time else 1,
            Operand.ONE,
            output_step=values.time if over_time else 0,
            position_step=1,
            channel_step=values.time,
            **_requantisation(layer),
        )
    ]


def _fourier_bands(layer: FourierBands, values: Format) -> list[EnginePass]:
    waves, first_frequency = _waveforms(layer)
    bins = len(layer.table) // 2
    reach = int(shift_right(np.array([product_range(layer, values)[1]]), layer.product_shift)[0])
    products = [
        EnginePass(
            layer.name,
            bins,
            1,
            1,
            values.time,
            Operand.WIDE,
            layer.product_bits,
            y_base=start,
            weights=wave[None],
            shift=layer.product_shift,
            # As far as a product can reach: rounded sums are not saturated.
            low=-reach,
            high=reach,
            wave=True,
            first_frequency=first_frequency,
        )
        for start, wave in zip((0, bins), waves, strict=True)
    ]
    starts = itertools.accumulate(layer.bins_per_band[:-1], initial=0)
    rounding = _requantisation(layer) | {"sum_bits": max(layer.energy_bits, layer.accumulator.bits)}
    energies = [
        EnginePass(
            layer.name,
            1,
            1,
            2,
            count,
            Operand.SQUARE,
            x_base=start,
            y_base=band,
            region=1,
            channel_step=bins,
            biases=(layer.floor,),
            logarithm=True,
            **rounding,
        )
        for band, (start, count) in enumerate(zip(starts, layer.bins_per_band, strict=True))
    ]
    return products + energies


def _waveforms(layer: FourierBands) -> tuple[list[Int[np.ndarray, " T"]], int]:
    """One period of the cosine and of the sine that all rows of the table are read from, and the first frequency."""
    bins, period = len(layer.table) // 2, layer.table.shape[1]
    steps = np.arange(period)
    for first in range(1, period - bins + 1):
        places = np.arange(first, first + bins)[:, None] * steps % period
        waves = [_common_wave(half, places, period) for half in (layer.table[:bins], layer.table[bins:])]
        if all(np.array_equal(wave[places], half) for wave, half in zip(waves, np.split(layer.table, 2), strict=True)):
            return waves, first
    raise DataError(
        f"{layer.name}: the table's rows are not one wave at consecutive frequencies, which is all that RTL stores; "
        "choose simple model A, A_lite or C"
    )


def _common_wave(rows: Int[np.ndarray, "R T"], places: Int[np.ndarray, "R T"], period: int) -> Int[np.ndarray, " T"]:
    wave = np.zeros(period, rows.dtype)
    wave[places] = rows
    return wave


def _window_statistics(layer: WindowStatistics, values: Format) -> list[EnginePass]:
    samples = values.time
    bounds: dict[str, Any] = {"low": layer.output.low, "high": layer.output.high}
    mean = EnginePass(
        layer.name,
        1,
        1,
        1,
        samples,
        Operand.ONE,
        layer.accumulator_bits,
        shift=samples.bit_length() - 1,
        low=values.low,
        high=values.high,
        to_mean=True,
    )
    features = [
        EnginePass(
            layer.name,
            1,
            1,
            1,
            samples,
            operand,
            layer.accumulator_bits,
            y_base=place,
            shift=shift,
            maximum=operand is Operand.CENTRED_MAGNITUDE,
            **bounds,
        )
        for place, (operand, shift) in enumerate(zip(CENTRED, layer.shifts, strict=True))
    ]
    return [mean, *features]


def _with_bases(passes: list[EnginePass]) -> tuple[EnginePass, ...]:
    """Bases counted from the start of the memory: its second half begins where the first one's largest tensor ends."""
    second = max(each.y_base + each.outputs * each.positions for each in passes if each.region == 0)
    return tuple(
        replace(
            each,
            x_base=each.x_base + (0 if each.reads_window or each.region == 1 else second),
            y_base=each.y_base + (second if each.region == 1 else 0),
        )
        for each in passes
    )


_LOWERINGS: dict[type, Callable[[Any, Format], list[EnginePass]]] = {
    Conv1d: _conv1d,
    AveragePool: _average_pool,
    Sum: _sum,
    FourierBands: _fourier_bands,
    WindowStatistics: _window_statistics,
}
