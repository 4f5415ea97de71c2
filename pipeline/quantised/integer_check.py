"""Whether an integer model is consistent: names, shapes, scales, ranges, and accumulators wide enough for any input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DataError
from .accumulators import accumulator_range, bits_of, energy_range, logit_difference_bits, product_range
from .integer_arithmetic import signed_range
from .integer_model import (
    LAYER_KINDS,
    MAX_ACCUMULATOR_BITS,
    WINDOW,
    AveragePool,
    Concatenate,
    Conv1d,
    Format,
    FourierBands,
    HardSigmoid,
    IntegerModel,
    IntegerNetwork,
    Layer,
    Maximum,
    Multiply,
    SelectElectrode,
    Sum,
    WindowStatistics,
)

Shape = tuple[int, int]


def check_model(model: IntegerModel, source: str) -> None:
    """Refuse a model that a back end could not run exactly.

    Raises:
        DataError: naming `source`, network and layer, and what contradicts what.
    """
    for network in model.networks:
        check_network(network, model.input.window, source)
    bits = logit_difference_bits(model.simple.logits)
    if model.routing.difference_bits != bits:
        raise DataError(f"{source}: routing.difference_bits={model.routing.difference_bits}, proved {bits}")
    if not 0 <= model.routing.margin < 2 ** (bits - 1):
        raise DataError(f"{source}: routing.margin={model.routing.margin} does not fit {bits} bits")


def check_network(network: IntegerNetwork, window: Format, source: str) -> None:
    """`check_model` for one network and the format of its windows."""
    known: dict[str, Format] = {WINDOW: window}
    if not network.layers:
        raise DataError(f"{source}: network {network.name} has no layers")
    for layer in network.layers:
        where = f"{source}: {network.name}.{layer.name}"
        if type(layer).__name__ not in LAYER_KINDS:
            raise DataError(f"{where}: unknown layer '{type(layer).__name__}'; known: {', '.join(LAYER_KINDS)}")
        if layer.name in known:
            raise DataError(f"{where}: two layers of that name")
        missing = [name for name in layer.inputs if name not in known]
        if missing:
            raise DataError(f"{where}: reads '{missing[0]}', which no earlier layer makes")
        inputs = tuple(known[name] for name in layer.inputs)
        _check_shape(layer, inputs, where)
        _check_exponents(layer, inputs, where)
        _check_ranges(layer, inputs, where)
        known[layer.name] = layer.output
    logits = network.logits
    if (logits.channels, logits.time) != (2, 1):
        raise DataError(
            f"{source}: {network.name} ends in [{logits.channels}, {logits.time}], not in two logits [2, 1]"
        )


def output_shape(layer: Layer, inputs: tuple[Format, ...]) -> Shape:
    """[channels, time] that a layer makes of its inputs."""
    return _SHAPES[type(layer)](layer, *((values.channels, values.time) for values in inputs))


def accumulator_exponents(layer: Layer, inputs: tuple[Format, ...]) -> tuple[int, ...]:
    """Exponents that a layer's accumulator may have; empty where it has none."""
    first = inputs[0].exponent
    if isinstance(layer, Conv1d):
        return (first + layer.weight_exponent,)
    if isinstance(layer, AveragePool):
        return (first - (layer.size.bit_length() - 1),)
    if isinstance(layer, Sum):
        length = {"channels": inputs[0].channels, "time": inputs[0].time}[layer.axis]
        return first, first - (length - 1).bit_length()
    if isinstance(layer, HardSigmoid):
        return (first - 2,)
    if isinstance(layer, Multiply):
        return (first + inputs[1].exponent,)
    return (-layer.log2_bits,) if isinstance(layer, FourierBands) else ()


def _check_shape(layer: Layer, inputs: tuple[Format, ...], where: str) -> None:
    if isinstance(layer, Conv1d):
        channels = inputs[0].channels
        expected = channels // layer.groups
        if channels % layer.groups or len(layer.weight) % layer.groups or layer.weight.shape[1] != expected:
            raise DataError(
                f"{where}: weight {list(layer.weight.shape)}, groups={layer.groups} do not fit {channels} channels"
            )
    if isinstance(layer, SelectElectrode) and not 0 <= layer.electrode < inputs[0].channels:
        raise DataError(f"{where}: electrode={layer.electrode} is not one of {inputs[0].channels}")
    shape = output_shape(layer, inputs)
    if shape != (layer.output.channels, layer.output.time):
        raise DataError(
            f"{where}: output [{layer.output.channels}, {layer.output.time}], its inputs make {list(shape)}"
        )


def _check_exponents(layer: Layer, inputs: tuple[Format, ...], where: str) -> None:
    exponents = accumulator_exponents(layer, inputs)
    accumulator = getattr(layer, "accumulator", None)
    if accumulator is not None and accumulator.exponent not in exponents:
        raise DataError(f"{where}: accumulator exponent {accumulator.exponent}, its inputs make {exponents[0]}")
    if accumulator is not None and layer.output.exponent < accumulator.exponent:
        raise DataError(f"{where}: output exponent {layer.output.exponent} is finer than its accumulator's")
    if isinstance(layer, SelectElectrode | Maximum | Concatenate):
        different = [values.exponent for values in inputs if values.exponent != layer.output.exponent]
        if different:
            raise DataError(f"{where}: output exponent {layer.output.exponent}, input exponent {different[0]}")
    if isinstance(layer, HardSigmoid):
        half, one = 2.0 ** (1 - inputs[0].exponent), 2.0**-layer.output.exponent
        if (layer.half, layer.output.high) != (half, one):
            raise DataError(f"{where}: half={layer.half}, high={layer.output.high} do not stand for 1/2 and 1")
    if isinstance(layer, WindowStatistics):
        samples = inputs[0].time
        first, log = inputs[0].exponent, samples.bit_length() - 1
        own = (2 * first - log, first, -log)
        if samples & (samples - 1) or any(
            s != layer.output.exponent - e for s, e in zip(layer.shifts, own, strict=True)
        ):
            raise DataError(f"{where}: shifts {list(layer.shifts)} do not fit {samples} samples of exponent {first}")
        if min(layer.shifts) < 0:
            raise DataError(f"{where}: shifts {list(layer.shifts)}: none may be negative")


def _check_ranges(layer: Layer, inputs: tuple[Format, ...], where: str) -> None:
    output = layer.output
    low, high = signed_range(output.bits)
    if not low <= output.low <= 0 <= output.high <= high:
        raise DataError(f"{where}: range [{output.low}, {output.high}] does not fit {output.bits} bits around zero")
    if isinstance(layer, Conv1d):
        low, high = signed_range(layer.weight_bits)
        if layer.weight.min() < low or layer.weight.max() > high:
            raise DataError(f"{where}: weights outside {layer.weight_bits} bits")
    if isinstance(layer, SelectElectrode | Maximum | Concatenate):
        if output.low > min(v.low for v in inputs) or output.high < max(v.high for v in inputs):
            raise DataError(f"{where}: range [{output.low}, {output.high}] is narrower than its inputs'")
        return
    stated = {"accumulator": layer.accumulator_bits if isinstance(layer, WindowStatistics) else layer.accumulator.bits}
    proved = {"accumulator": bits_of(accumulator_range(layer, inputs))}
    if isinstance(layer, FourierBands):
        stated |= {"product": layer.product_bits, "energy": layer.energy_bits}
        proved |= {
            "product": bits_of(product_range(layer, inputs[0])),
            "energy": bits_of(energy_range(layer, inputs[0])),
        }
        if layer.floor < 1:
            raise DataError(f"{where}: floor={layer.floor}; the logarithm of zero has no value, give at least 1")
    for name, bits in proved.items():
        if stated[name] != bits:
            raise DataError(f"{where}: {name} of {stated[name]} bits, its worst case takes {bits}")
        if bits > MAX_ACCUMULATOR_BITS:
            raise DataError(f"{where}: {name} takes {bits} bits, more than {MAX_ACCUMULATOR_BITS}; use fewer bits")


def _conv_shape(layer: Conv1d, values: Shape) -> Shape:
    filters, _, kernel = layer.weight.shape
    return filters, (values[1] + 2 * layer.padding - kernel) // layer.stride + 1


def _reduced(layer: Any, values: Shape) -> Shape:
    return (1, values[1]) if layer.axis == "channels" else (values[0], 1)


def _joined(layer: Concatenate, first: Shape, second: Shape) -> Shape:
    if layer.axis == "channels":
        return (first[0] + second[0], first[1]) if first[1] == second[1] else (0, 0)
    return (first[0], first[1] + second[1]) if first[0] == second[0] else (0, 0)


def _gated(layer: Multiply, values: Shape, gate: Shape) -> Shape:
    fits = gate in ((values[0], 1), (1, values[1]), values)
    return values if fits else (0, 0)


_SHAPES: dict[type, Callable[..., Shape]] = {
    SelectElectrode: lambda layer, values: (1, values[1]),
    Conv1d: _conv_shape,
    AveragePool: lambda layer, values: (values[0], values[1] // layer.size),
    Sum: _reduced,
    Maximum: _reduced,
    Concatenate: _joined,
    HardSigmoid: lambda layer, values: values,
    Multiply: _gated,
    FourierBands: lambda layer, values: (len(layer.bins_per_band), 1),
    WindowStatistics: lambda layer, values: (3, 1),
}
