"""The constants of one layer as a C++ struct, its types as narrow as the proved widths allow, and the call of its
kernel."""

from __future__ import annotations

import re
from functools import singledispatch
from typing import Any

import numpy as np
from jaxtyping import Int

from ..errors import DataError
from .integer_arithmetic import signed_range
from .integer_model import (
    LAYER_KINDS,
    WINDOW,
    AveragePool,
    Concatenate,
    Conv1d,
    Format,
    FourierBands,
    HardSigmoid,
    Layer,
    Maximum,
    Multiply,
    SelectElectrode,
    Sum,
    WindowStatistics,
)

# Beyond this shift every accumulator of at most 53 bits rounds to zero, and C++ has no shift by 64.
WIDEST_SHIFT = 60
_NUMBERS_PER_LINE = 16


def identifier(name: str, network: str) -> str:
    """A layer's name in C++.

    Raises:
        DataError: it holds characters that C++ has no place for.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]*", name):
        raise DataError(f"{network}.{name}: not a name for C++; use letters, digits, '_' and '.'")
    return name.replace(".", "_")


def storage(bits: int) -> str:
    """The narrowest integer type of `bits`."""
    return next(f"int{size}_t" for size in (8, 16, 32, 64) if bits <= size)


def accumulator_type(bits: int, shift: int) -> str:
    """Sums of 32 bits where rounding cannot overflow them either, of 64 bits elsewhere."""
    return "int32_t" if bits <= 31 and shift <= 30 else "int64_t"


def terms_in_32_bits(weight: Int[np.ndarray, "F N"], reach: int) -> int:
    """How many consecutive products sum up in 32 bits whatever the inputs are: all of N, a power of two, or 0.

    Args:
        weight: one row per output; sums start at multiples of the result.
        reach: largest magnitude of an input.
    """
    size = np.abs(weight.astype(np.int64))
    count = size.shape[1]
    halvings = range((count - 1).bit_length() - 1, -1, -1)
    for terms in (count, *(2**k for k in halvings)):
        padded = np.pad(size, ((0, 0), (0, -count % terms)))
        sums = padded.reshape(len(size), -1, terms).sum(-1)
        if int(sums.max(initial=0)) * reach < 2**31:
            return terms
    return 0


def layer_struct(layer: Layer, inputs: tuple[Format, ...], network: str) -> str:
    """The struct of constants that the layer's kernel is instantiated with.

    Raises:
        DataError: a layer that C++ has no kernel for.
    """
    if isinstance(layer, SelectElectrode):
        return ""
    first, output = inputs[0], layer.output
    lines = [f"using In = {storage(first.bits)};", f"using Out = {storage(output.bits)};"]
    numbers = {"C": first.channels, "T": first.time, "steps": output.time}
    accumulator = getattr(layer, "accumulator", None)
    bounds = signed_range(64)
    if accumulator is not None:
        shift = min(output.exponent - accumulator.exponent, WIDEST_SHIFT)
        kind = accumulator_type(accumulator.bits, shift)
        lines.append(f"using Acc = {kind};")
        numbers["shift"] = shift
        bounds = signed_range(32) if kind == "int32_t" else bounds
    if len(inputs) == 2:
        lines.append(f"using Gate = {storage(inputs[1].bits)};")
        numbers |= {"gate_C": inputs[1].channels, "gate_T": inputs[1].time}
    more, arrays = _details(layer, inputs)
    numbers |= {key: value for key, value in more.items() if isinstance(value, int)}
    lines += [f"using {key} = {value};" for key, value in more.items() if isinstance(value, str)]
    lines += [f"static constexpr int {key} = {value};" for key, value in numbers.items() if key not in _WIDE]
    wide = {key: numbers[key] for key in _WIDE if key in numbers}
    wide |= {"low": max(output.low, bounds[0]), "high": min(output.high, bounds[1])}
    lines += [f"static constexpr int64_t {key} = INT64_C({value});" for key, value in wide.items()]
    lines += [f"static constexpr {kind} {key}[] = {{{_rows(values)}}};" for key, (kind, values) in arrays.items()]
    body = "\n    ".join(lines)
    return f"struct {identifier(layer.name, network)} {{\n    {body}\n}};\n"


def layer_call(layer: Layer, network: str) -> str:
    """The statement that computes a layer's tensor from those of its inputs."""
    name = identifier(layer.name, network)
    if isinstance(layer, SelectElectrode):
        return _selection(layer, name, network)
    sources = ["by_time" if source == WINDOW else identifier(source, network) for source in layer.inputs]
    arguments = ", ".join(f"tensors::{source}" for source in [*sources, name])
    return f"kernels::{_KERNELS[type(layer)]}{_suffix(layer)}<layers::{name}>({arguments});"


def _selection(layer: SelectElectrode, name: str, network: str) -> str:
    if layer.inputs != (WINDOW,):
        raise DataError(f"{network}.{layer.name}: selects from '{layer.inputs[0]}'; electrodes are those of the window")
    kind = storage(layer.output.bits)
    source = f"static_cast<{kind}>(window[{layer.electrode} * CASCADE_SAMPLES + t])"
    return f"for (int t = 0; t < CASCADE_SAMPLES; ++t) tensors::{name}[t] = {source};"


def _suffix(layer: Layer) -> str:
    if isinstance(layer, Sum | Maximum):
        return f"_over_{layer.axis}"
    return f"_{layer.axis}" if isinstance(layer, Concatenate) else ""


def _rows(values: Int[np.ndarray, "*shape"]) -> str:
    flat = [str(int(value)) for value in values.ravel()]
    starts = range(0, len(flat), _NUMBERS_PER_LINE)
    return ",\n        ".join(", ".join(flat[start : start + _NUMBERS_PER_LINE]) for start in starts)


Details = tuple[dict[str, Any], dict[str, tuple[str, np.ndarray]]]


@singledispatch
def _details(layer: Layer, inputs: tuple[Format, ...]) -> Details:
    known = ", ".join(LAYER_KINDS)
    raise DataError(f"layer {getattr(layer, 'name', layer)}: unknown layer '{type(layer).__name__}'; known: {known}")


@_details.register(Multiply)
@_details.register(Concatenate)
@_details.register(Maximum)
@_details.register(Sum)
def _(layer: Layer, inputs: tuple[Format, ...]) -> Details:
    return {}, {}


@_details.register
def _(layer: Conv1d, inputs: tuple[Format, ...]) -> Details:
    filters, per_group, kernel = layer.weight.shape
    grouped = layer.weight.reshape(layer.groups, filters // layer.groups, per_group, kernel).astype(np.int64)
    channels = inputs[0].channels
    if layer.groups == channels == filters and channels > 1:
        ordered = grouped[:, 0, 0].T
    else:
        ordered = grouped.transpose(0, 3, 2, 1)
    in_order = layer.weight.transpose(0, 2, 1).reshape(filters, -1)
    return _products(in_order, inputs[0]) | {
        "F": filters,
        "K": kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "groups": layer.groups,
        "Weight": storage(layer.weight_bits),
    }, {"weight": (storage(layer.weight_bits), ordered), "bias": ("int64_t", layer.bias)}


@_details.register
def _(layer: AveragePool, inputs: tuple[Format, ...]) -> Details:
    return {"size": layer.size}, {}


@_details.register
def _(layer: HardSigmoid, inputs: tuple[Format, ...]) -> Details:
    return {"half": int(layer.half)}, {}


@_details.register
def _(layer: FourierBands, inputs: tuple[Format, ...]) -> Details:
    bins = np.asarray(layer.bins_per_band)
    return _products(layer.table, inputs[0]) | {
        "bins": len(layer.table) // 2,
        "bands": len(bins),
        "index_bits": len(layer.log2_table).bit_length() - 1,
        "log2_bits": layer.log2_bits,
        "product_shift": layer.product_shift,
        "floor": layer.floor,
        "offset": layer.offset,
        "Weight": "int16_t",
    }, {
        "table": ("int16_t", layer.table.T),
        "bins_per_band": ("int", bins),
        "log2_table": ("int64_t", layer.log2_table),
    }


@_details.register
def _(layer: WindowStatistics, inputs: tuple[Format, ...]) -> Details:
    names = ("variance_shift", "peak_shift", "crossings_shift")
    shifts = {name: min(shift, WIDEST_SHIFT) for name, shift in zip(names, layer.shifts, strict=True)}
    return {"halvings": inputs[0].time.bit_length() - 1, **shifts}, {}


def _products(weight: Int[np.ndarray, "F N"], values: Format) -> dict[str, Any]:
    terms = terms_in_32_bits(weight, max(-values.low, values.high))
    return {"terms": terms or weight.shape[1], "Product": "int32_t" if terms else "int64_t"}


_WIDE = ("half", "floor", "offset")
_KERNELS: dict[type, str] = {
    Conv1d: "conv1d",
    AveragePool: "average_pool",
    Sum: "sum",
    Maximum: "maximum",
    Concatenate: "concatenate",
    HardSigmoid: "hard_sigmoid",
    Multiply: "multiply",
    FourierBands: "fourier_bands",
    WindowStatistics: "window_statistics",
}
