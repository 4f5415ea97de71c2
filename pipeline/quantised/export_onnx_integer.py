"""An integer model as two ONNX files of integer operators: `simple.onnx` with the route bit, and `complex.onnx`.

Input `window` is int16 [N, C, T]; outputs are `logits` int64 [N, 2] and, of the simple network, `routed` bool [N].
Inside, tensors are [N, time, channels]: what a filter sees lies together, so that a convolution is one gathering and
one integer matrix product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import singledispatch
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..artifacts import write_bytes
from ..errors import DataError
from .integer_check import check_model
from .integer_model import (
    LAYER_KINDS,
    WINDOW,
    AveragePool,
    Axis,
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
from .onnx_builder import LONGEST_BYTE_SUM, Graph, is_narrow, weight_bytes

OPSET, IR_VERSION = 18, 9
FILES = {"simple": "simple.onnx", "complex": "complex.onnx"}
_AXES: dict[Axis, int] = {"channels": 2, "time": 1}
Inputs = tuple[Format, ...]


def write_onnx(model: IntegerModel, folder: Path | str) -> list[Path]:
    """Write both networks.

    Raises:
        DataError: the model is inconsistent or holds a layer without an ONNX form.
    """
    check_model(model, f"patient {model.patient}")
    paths = []
    for network in model.networks:
        margin = model.routing.margin if network is model.simple else None
        path = Path(folder) / FILES[network.name]
        write_bytes(path, onnx_network(network, model.input.window, margin).SerializeToString(deterministic=True))
        paths.append(path)
    return paths


def onnx_network(network: IntegerNetwork, window: Format, margin: int | None) -> onnx.ModelProto:
    """One network; with a margin also its route bit."""
    graph = Graph()
    formats = {WINDOW: window}
    tensors = {WINDOW: graph.add("Transpose", WINDOW, perm=[0, 2, 1])}
    for layer in network.layers:
        inputs = tuple(formats[name] for name in layer.inputs)
        try:
            tensors[layer.name] = _layer(layer, graph, inputs, *(tensors[name] for name in layer.inputs))
        except DataError as error:
            raise DataError(f"{network.name}.{layer.name}: {error}") from error
        formats[layer.name] = layer.output
    last = graph.cast(tensors[network.layers[-1].name], np.int64)
    outputs = [_output("logits", TensorProto.INT64, ["N", 2])]
    logits = graph.reshaped(last, -1, 2)
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    if margin is not None:
        outputs.append(_output("routed", TensorProto.BOOL, ["N"]))
        graph.nodes.append(helper.make_node("Not", [_believed(graph, logits, margin)], ["routed"]))
    shape: list[str | int | None] = ["N", window.channels, window.time]
    made = helper.make_graph(
        graph.nodes,
        f"{network.name}_network",
        [helper.make_tensor_value_info(WINDOW, TensorProto.INT16, shape)],
        outputs,
        list(graph.constants.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="chipweave")
    onnx.checker.check_model(model, full_check=True)
    return model


def _output(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _believed(graph: Graph, logits: str, margin: int) -> str:
    """|l1 - l0| > margin, as two comparisons."""
    sides = [graph.gathered(logits, np.array(side), 1) for side in (0, 1)]
    difference = graph.add("Sub", sides[1], sides[0])
    above = graph.add("Greater", difference, graph.scalar(margin, np.int64))
    return graph.add("Or", above, graph.add("Less", difference, graph.scalar(-margin, np.int64)))


def _stored(output: Format) -> type[np.integer]:
    return np.int32 if output.bits <= 32 else np.int64


def _summed_in(layer: Layer) -> type[np.integer]:
    """The type of a layer's accumulator."""
    shift = layer.output.exponent - layer.accumulator.exponent  # type: ignore[union-attr]
    return np.int32 if is_narrow(layer.accumulator.bits, shift) else np.int64  # type: ignore[union-attr]


def _requantised(layer: Layer, graph: Graph, sums: str) -> str:
    accumulator, output = layer.accumulator, layer.output  # type: ignore[union-attr]
    shifted = graph.shifted(sums, output.exponent - accumulator.exponent, accumulator.bits)
    return graph.cast(graph.clamped(shifted, output.low, output.high, _summed_in(layer)), _stored(output))


@singledispatch
def _layer(layer: Layer, graph: Graph, inputs: Inputs, *values: str) -> str:
    raise DataError(f"unknown layer '{type(layer).__name__}'; known: {', '.join(LAYER_KINDS)}")


@_layer.register
def _(layer: SelectElectrode, graph: Graph, inputs: Inputs, *values: str) -> str:
    return graph.cast(graph.gathered(values[0], np.array([layer.electrode]), 2), np.int32)


@_layer.register
def _(layer: Conv1d, graph: Graph, inputs: Inputs, *values: str) -> str:
    filters = len(layer.weight)
    depthwise = layer.groups == inputs[0].channels == filters and filters > 1
    product: Callable[..., str] = _depthwise if depthwise else _grouped
    accumulated = product(layer, graph, inputs[0], _padded(layer, graph, values[0]), _patch_steps(layer))
    biased = graph.add("Add", accumulated, graph.constant(layer.bias.astype(_summed_in(layer))))
    return _requantised(layer, graph, biased)


def _patch_steps(layer: Conv1d) -> np.ndarray:
    """The instants that each output step sees: [steps, K]."""
    return np.arange(layer.output.time)[:, None] * layer.stride + np.arange(layer.weight.shape[2])


def _padded(layer: Conv1d, graph: Graph, values: str) -> str:
    signal = graph.cast(values, np.int32)
    if not layer.padding:
        return signal
    ends = np.array([0, layer.padding, 0, 0, layer.padding, 0], np.int64)
    return graph.add("Pad", signal, graph.constant(ends), graph.scalar(0, np.int32))


def _depthwise(layer: Conv1d, graph: Graph, values: Format, signal: str, steps: np.ndarray) -> str:
    dtype = _summed_in(layer)
    patches = graph.gathered(graph.cast(signal, dtype), steps, 1)
    products = graph.add("Mul", patches, graph.constant(layer.weight[:, 0].T.astype(dtype)))
    return graph.summed(products, 2, keep=False)


def _grouped(layer: Conv1d, graph: Graph, values: Format, signal: str, steps: np.ndarray) -> str:
    """Products of unsigned bytes, put together: exact for any width."""
    filters, per_group, kernel = layer.weight.shape
    if kernel * per_group > LONGEST_BYTE_SUM:
        raise DataError(
            f"sums {kernel * per_group} products, more than the {LONGEST_BYTE_SUM} whose bytes fit 32 bits; "
            "use fewer channels or a shorter kernel"
        )
    parts = graph.bytes_of(signal, max(values.bits, 1))
    results = []
    for group in range(layer.groups):
        mine = parts
        if layer.groups > 1:
            channels = np.arange(group * per_group, (group + 1) * per_group)
            mine = [graph.gathered(part, channels, 2) for part in parts]
        rows = [_rows(graph, part, steps, per_group) for part in mine]
        own = layer.weight.reshape(layer.groups, -1, per_group, kernel)[group]
        columns = weight_bytes(own.transpose(2, 1, 0).reshape(kernel * per_group, -1), layer.weight_bits)
        total = _product(graph, rows, columns, _summed_in(layer))
        results.append(graph.reshaped(total, -1, layer.output.time, filters // layer.groups))
    return results[0] if len(results) == 1 else graph.add("Concat", *results, axis=2)


def _rows(graph: Graph, part: str, steps: np.ndarray, channels: int) -> str:
    """What each output step sees as a row: [N * steps, K * C]."""
    everything = steps.shape == (1, 1) or (steps.shape[1] == 1 and np.array_equal(steps[:, 0], np.arange(len(steps))))
    patches = part if everything else graph.gathered(part, steps, 1)
    return graph.reshaped(patches, -1, steps.shape[1] * channels)


def _product(graph: Graph, rows: list[str], columns: list[np.ndarray], dtype: type[np.integer]) -> str:
    """rows @ columns from their bytes."""
    total = ""
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            zeros = [graph.scalar(128 if last else 0, np.uint8) for last in (i + 1 == len(rows), j + 1 == len(columns))]
            part = graph.cast(graph.add("MatMulInteger", row, graph.constant(column), *zeros), dtype)
            if i + j:
                part = graph.add("Mul", part, graph.scalar(1 << (8 * (i + j)), dtype))
            total = graph.add("Add", total, part) if total else part
    return total


@_layer.register
def _(layer: AveragePool, graph: Graph, inputs: Inputs, *values: str) -> str:
    instants = np.arange(layer.output.time * layer.size).reshape(-1, layer.size)
    groups = graph.gathered(graph.cast(values[0], _summed_in(layer)), instants, 1)
    return _requantised(layer, graph, graph.summed(groups, 2, keep=False))


@_layer.register
def _(layer: Sum, graph: Graph, inputs: Inputs, *values: str) -> str:
    wide = graph.cast(values[0], _summed_in(layer))
    return _requantised(layer, graph, graph.summed(wide, _AXES[layer.axis], keep=True))


@_layer.register
def _(layer: Maximum, graph: Graph, inputs: Inputs, *values: str) -> str:
    if layer.output.bits > 32:
        raise DataError(f"a maximum of {layer.output.bits} bits; onnxruntime is exact up to 32, use fewer bits")
    axes = graph.constant(np.array([_AXES[layer.axis]], np.int64))
    return graph.add("ReduceMax", graph.cast(values[0], np.int32), axes, keepdims=1)


@_layer.register
def _(layer: Concatenate, graph: Graph, inputs: Inputs, *values: str) -> str:
    parts = [graph.cast(value, _stored(layer.output)) for value in values]
    return graph.add("Concat", *parts, axis=_AXES[layer.axis])


@_layer.register
def _(layer: HardSigmoid, graph: Graph, inputs: Inputs, *values: str) -> str:
    dtype = _summed_in(layer)
    return _requantised(layer, graph, graph.add("Add", graph.cast(values[0], dtype), graph.scalar(layer.half, dtype)))


@_layer.register
def _(layer: Multiply, graph: Graph, inputs: Inputs, *values: str) -> str:
    return _requantised(layer, graph, graph.add("Mul", *(graph.cast(value, _summed_in(layer)) for value in values)))


@_layer.register
def _(layer: FourierBands, graph: Graph, inputs: Inputs, *values: str) -> str:
    rows = [graph.reshaped(part, -1, inputs[0].time) for part in graph.bytes_of(values[0], inputs[0].bits)]
    sums = _product(graph, rows, weight_bytes(layer.table.T, 16), np.int64)
    product = graph.shifted(sums, layer.product_shift, max(layer.product_bits, 31))
    squares = graph.add("Mul", product, product)
    bins = len(layer.table) // 2
    both = [graph.gathered(squares, np.arange(bins) + offset, 1) for offset in (0, bins)]
    by_bin = graph.add("Add", *both)
    starts = np.cumsum([0, *layer.bins_per_band])
    bands = [
        graph.summed(graph.gathered(by_bin, np.arange(low, high), 1), 1, keep=True)
        for low, high in itertools.pairwise(starts)
    ]
    energy = graph.add("Add", graph.add("Concat", *bands, axis=1), graph.scalar(layer.floor, np.int64))
    logarithm = graph.reshaped(_logarithm(layer, graph, energy), -1, 1, len(bands))
    return _requantised(layer, graph, graph.cast(logarithm, _summed_in(layer)))


def _logarithm(layer: FourierBands, graph: Graph, energy: str) -> str:
    """Position of the highest bit by comparisons with every power of two, and the table below it."""
    index_bits = len(layer.log2_table).bit_length() - 1
    if layer.energy_bits + index_bits > 63:
        raise DataError(f"energies of {layer.energy_bits} bits leave no room for {index_bits} more; use fewer bits")
    powers = graph.constant(np.array([1 << k for k in range(1, layer.energy_bits)], np.int64))
    columns = graph.add("Unsqueeze", energy, graph.constant(np.array([2], np.int64)))
    reached = graph.cast(graph.add("GreaterOrEqual", columns, powers), np.int64)
    position = graph.summed(reached, 2, keep=False)
    widened = graph.cast(graph.add("Mul", energy, graph.scalar(1 << index_bits, np.int64)), np.uint64)
    aligned = graph.add("BitShift", widened, graph.cast(position, np.uint64), direction="RIGHT")
    mantissa = graph.add("Sub", graph.cast(aligned, np.int64), graph.scalar(1 << index_bits, np.int64))
    entry = graph.add("Gather", graph.constant(layer.log2_table.astype(np.int64)), mantissa, axis=0)
    scaled = graph.add("Mul", position, graph.scalar(1 << layer.log2_bits, np.int64))
    return graph.add("Add", graph.add("Add", scaled, entry), graph.scalar(layer.offset, np.int64))


@_layer.register
def _(layer: WindowStatistics, graph: Graph, inputs: Inputs, *values: str) -> str:
    samples = inputs[0].time
    signal = graph.reshaped(graph.cast(values[0], np.int64), -1, samples)
    mean = graph.shifted(graph.summed(signal, 1, keep=True), samples.bit_length() - 1, layer.accumulator_bits + 31)
    centred = graph.add("Sub", signal, mean)
    variance = graph.summed(graph.add("Mul", centred, centred), 1, keep=True)
    magnitude = graph.cast(graph.add("Abs", centred), np.int32)
    peak = graph.add("ReduceMax", magnitude, graph.constant(np.array([1], np.int64)), keepdims=1)
    above = graph.add("GreaterOrEqual", centred, graph.scalar(0, np.int64))
    sides = [graph.gathered(above, np.arange(samples - 1) + offset, 1) for offset in (0, 1)]
    crossings = graph.summed(graph.cast(graph.add("Xor", *sides), np.int64), 1, keep=True)
    features = [
        graph.shifted(graph.cast(feature, np.int64), shift, 53)
        for feature, shift in zip((variance, peak, crossings), layer.shifts, strict=True)
    ]
    joined = graph.clamped(graph.add("Concat", *features, axis=1), layer.output.low, layer.output.high, np.int64)
    return graph.cast(graph.reshaped(joined, -1, 1, 3), _stored(layer.output))
