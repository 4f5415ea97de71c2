"""From the trained quantised cascade to its integer model: weights and biases as integers, accumulators proved."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import singledispatch

import brevitas.nn as qnn
import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..cascade.cascade_models import threshold_of
from ..errors import DataError
from .accumulators import (
    accumulator_range,
    bits_of,
    energy_range,
    logit_difference_bits,
    product_range,
)
from .exact_features import LOG2_BITS, ExactBands, ExactStatistics
from .integer_arithmetic import exponent_of
from .integer_check import check_model
from .integer_model import (
    Accumulator,
    AveragePool,
    Concatenate,
    Conv1d,
    Format,
    FourierBands,
    HardSigmoid,
    InputQuantiser,
    IntegerModel,
    IntegerNetwork,
    Layer,
    Maximum,
    Multiply,
    Routing,
    SelectElectrode,
    Sum,
    WindowStatistics,
)
from .operations import AxisMaximum, AxisSum, Electrode, Gate, GateOpening, Join
from .qat import QuantisedCascade, QuantisedNetwork, QuantisedNode
from .quantisers import scale_of


def build_integer_model(cascade: QuantisedCascade, patient: str, sample_rate_hz: float) -> IntegerModel:
    """The integer model of a quantised cascade, with its margin.

    Raises:
        DataError: a layer has no integer form, a scale is not a power of two, or an accumulator is too wide.
    """
    simple, complex_ = (
        _network(name, network) for name, network in (("simple", cascade.simple), ("complex", cascade.complex))
    )
    routing = integer_routing(simple.logits, float(cascade.margin))
    quantiser = InputQuantiser(cascade.window, sample_rate_hz)
    exponent = exponent_of(scale_of(cascade.input), "input")
    if exponent != cascade.window.exponent:
        raise DataError(f"input: Brevitas quantises at 2**{exponent}, the format says 2**{cascade.window.exponent}")
    model = IntegerModel(patient, quantiser, simple, complex_, routing)
    check_model(model, f"patient {patient}")
    return model


def integer_routing(logits: Format, margin: float) -> Routing:
    """A margin in logits as an integer: |d| * 2**e > margin exactly where |d| > floor(margin / 2**e)."""
    widest = logits.high - logits.low
    steps = widest if math.isinf(margin) else math.floor(margin * 2.0**-logits.exponent)
    return Routing(min(steps, widest), logit_difference_bits(logits), threshold_of(margin))


def _network(name: str, network: QuantisedNetwork) -> IntegerNetwork:
    layers: list[Layer] = []
    for planned, operation, quantiser in zip(network.plan, network.operations, network.quantisers, strict=True):
        _check_scale(planned, quantiser, f"{name}.{planned.node.name}")
        layers.append(_proved(_layer(operation, planned), planned.inputs))
    return IntegerNetwork(name, tuple(layers))


def _check_scale(planned: QuantisedNode, quantiser: nn.Module, where: str) -> None:
    """Brevitas must work with the scale that the plan says."""
    if isinstance(quantiser, nn.Identity):
        return
    exponent = exponent_of(scale_of(quantiser), where)
    if exponent != planned.output.exponent:
        raise DataError(f"{where}: Brevitas quantises at 2**{exponent}, the plan says 2**{planned.output.exponent}")


def _proved(layer: Layer, inputs: tuple[Format, ...]) -> Layer:
    """The layer with the accumulator widths of its worst case, and logits with their range."""
    if isinstance(layer, WindowStatistics):
        return replace(layer, accumulator_bits=bits_of(accumulator_range(layer, inputs)))
    if isinstance(layer, SelectElectrode | Maximum | Concatenate):
        return layer
    if isinstance(layer, FourierBands):
        product, energy = product_range(layer, inputs[0]), energy_range(layer, inputs[0])
        layer = replace(layer, product_bits=bits_of(product), energy_bits=bits_of(energy))
    bounds = accumulator_range(layer, inputs)
    accumulator = Accumulator(layer.accumulator.exponent, bits_of(bounds))
    if layer.output.bits:
        return replace(layer, accumulator=accumulator)
    low, high = bounds
    return replace(
        layer, accumulator=accumulator, output=replace(layer.output, bits=accumulator.bits, low=low, high=high)
    )


@singledispatch
def _layer(operation: nn.Module, planned: QuantisedNode) -> Layer:
    raise DataError(f"layer {planned.node.name}: {type(operation).__name__} has no integer form")


def _unproved(planned: QuantisedNode) -> Accumulator:
    return Accumulator(planned.accumulator_exponent, 0)


@_layer.register
def _(operation: qnn.QuantConv1d, planned: QuantisedNode) -> Layer:
    name = planned.node.name
    exponent = exponent_of(scale_of(operation.weight_quant), f"{name}.weight")
    unit = exponent_of(scale_of(operation.bias_quant), f"{name}.bias")
    if unit != planned.accumulator_exponent:
        raise DataError(
            f"{name}: its bias lies on 2**{unit}, not on the accumulator's 2**{planned.accumulator_exponent}"
        )
    stored = np.int8 if planned.bits <= 8 else np.int16
    return Conv1d(
        name,
        (planned.node.inputs[0],),
        planned.output,
        _unproved(planned),
        weight=_integers(operation.quant_weight().value, exponent).astype(stored),
        bias=_integers(operation.quant_bias().value, unit),
        weight_exponent=exponent,
        weight_bits=planned.bits,
        stride=operation.stride[0],
        padding=int(operation.padding[0]),
        groups=operation.groups,
    )


@_layer.register
def _(operation: Electrode, planned: QuantisedNode) -> Layer:
    return SelectElectrode(planned.node.name, (planned.node.inputs[0],), planned.output, operation.electrode)


@_layer.register
def _(operation: nn.AvgPool1d, planned: QuantisedNode) -> Layer:
    size = operation.kernel_size[0] if isinstance(operation.kernel_size, tuple) else operation.kernel_size
    return AveragePool(planned.node.name, (planned.node.inputs[0],), planned.output, _unproved(planned), int(size))


@_layer.register
def _(operation: AxisSum, planned: QuantisedNode) -> Layer:
    return Sum(planned.node.name, (planned.node.inputs[0],), planned.output, _unproved(planned), operation.axis)


@_layer.register
def _(operation: AxisMaximum, planned: QuantisedNode) -> Layer:
    return Maximum(planned.node.name, (planned.node.inputs[0],), planned.output, operation.axis)


@_layer.register
def _(operation: Join, planned: QuantisedNode) -> Layer:
    first, second = planned.node.inputs
    return Concatenate(planned.node.name, (first, second), planned.output, operation.axis)


@_layer.register
def _(operation: GateOpening, planned: QuantisedNode) -> Layer:
    half = 2 ** (-1 - planned.accumulator_exponent)
    return HardSigmoid(planned.node.name, (planned.node.inputs[0],), planned.output, _unproved(planned), half)


@_layer.register
def _(operation: Gate, planned: QuantisedNode) -> Layer:
    first, second = planned.node.inputs
    return Multiply(planned.node.name, (first, second), planned.output, _unproved(planned))


@_layer.register
def _(operation: ExactBands, planned: QuantisedNode) -> Layer:
    return FourierBands(
        planned.node.name,
        (planned.node.inputs[0],),
        planned.output,
        _unproved(planned),
        table=operation.table.numpy().astype(np.int16),
        bins_per_band=operation.bins_per_band,
        product_shift=operation.product_shift,
        product_bits=0,
        energy_bits=0,
        floor=operation.floor,
        log2_bits=LOG2_BITS,
        log2_table=operation.log2_table.numpy().astype(np.int16),
        offset=operation.offset,
    )


@_layer.register
def _(operation: ExactStatistics, planned: QuantisedNode) -> Layer:
    first, second, third = (planned.output.exponent - own for own in operation.feature_exponents)
    return WindowStatistics(
        planned.node.name, (planned.node.inputs[0],), planned.output, 0, shifts=(first, second, third)
    )


def _integers(values: Tensor, exponent: int) -> Int[np.ndarray, "*shape"]:
    """Values on the grid 2**exponent as integers; a value beside the grid is a fault of the quantiser."""
    scaled = values.detach().double() * 2.0**-exponent
    integers = scaled.round()
    if not torch.equal(scaled, integers):
        raise ValueError(f"values do not lie on the grid 2**{exponent}")
    return integers.to(torch.int64).numpy()
