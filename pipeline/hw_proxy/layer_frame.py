"""Tables of measured layers: reading them, refusing what cannot be, and the kernels they stand for.

Format: one row per layer. `layer_type` and `precision` always; `B M K N` for matrix products ([B,M,K] x [K|B,K,N]),
`B H` for norms, softmax and elementwise maps, `B Cin Cout ksize hw stride padding` for convolutions, and
`B seq_len embed_dim num_heads mlp_ratio` for whole transformer layers (`embed`, `attention`, `mlp`, `head`, `block`).
`flops` and `bytes` are taken from the row, or counted from the shape where the columns are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from ..errors import DataError
from .layer_kernels import kernels_of_layer
from .layer_table import (
    COMPOSITE_KINDS,
    KERNEL_KINDS,
    LAYER_TYPES,
    PRECISION_BYTES,
    UNKNOWN_SOURCE,
    LayerTable,
    join_tables,
    table_from_kernels,
)

if TYPE_CHECKING:
    import pandas as pd

SHAPE_COLUMNS = {
    "linear": ("B", "M", "K", "N"),
    "matmul_batched": ("B", "M", "K", "N"),
    "layernorm": ("B", "H"),
    "softmax": ("B", "H"),
    "elementwise": ("B", "H"),
    "conv2d": ("B", "Cin", "Cout", "ksize", "hw", "stride", "padding"),
    "sdpa": ("B", "M", "K", "num_heads"),
    **dict.fromkeys(COMPOSITE_KINDS, ("B", "seq_len", "embed_dim", "num_heads", "mlp_ratio", "flops")),
}
FLOPS_PER_VALUE = {"layernorm": 8.0, "softmax": 5.0, "gelu": 8.0, "tanh": 4.0}
BINARY_OPS = ("add", "mul", "div", "pow")
COST_COLUMNS = ("flops", "bytes")


@dataclass(frozen=True)
class CompositeCost:
    """A whole transformer layer of a measured table, in the shape of a `LayerCost`."""

    kind: str
    flops: float
    bytes_weights: float
    bytes_activations: float
    seq_len: float
    embed_dim: int
    num_heads: float
    mlp_ratio: float


def layers_from_frame(
    frame: pd.DataFrame,
    *,
    table: str = "layers",
    sources: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
) -> LayerTable:
    """The kernels of every row; layer i of the result is row i.

    Args:
        frame: rows in the format above.
        table: what messages call it, e.g. the file.
        sources: measurement sources a fitted proxy knows; the column `source` is looked up in it.

    Raises:
        DataError: no rows, a missing column, an unknown layer type or precision, a size below 1.
    """
    check_layers(frame, table)
    frame = frame.reset_index(drop=True)
    types = frame.layer_type.astype(str).to_numpy()
    parts, positions = [], []
    for kind in KERNEL_KINDS:
        index = np.flatnonzero(types == kind)
        if len(index):
            parts.append(_kernel_rows(frame.iloc[index], kind, table, sources, dtype))
            positions.append(index)
    records = frame.to_dict("records") if np.isin(types, COMPOSITE_KINDS).any() else []
    for place, record in enumerate(records):
        if record["layer_type"] in COMPOSITE_KINDS:
            parts.append(_composite_row(record, sources, dtype))
            positions.append(np.array([place]))
    joined = join_tables(parts)
    joined = joined.with_layers(torch.from_numpy(np.concatenate(positions))[joined.layer], len(frame))
    return joined.reordered(torch.argsort(joined.layer, stable=True))


def check_layers(frame: pd.DataFrame, table: str) -> None:
    """Refuse a table that cannot be read as layers.

    Raises:
        DataError: no rows, a missing column, an unknown layer type or precision.
    """
    _need(frame, ("layer_type", "precision"), table, "every row")
    if not len(frame):
        raise DataError(f"{table}: holds no rows; give at least one layer")
    known = [name for name in LAYER_TYPES if name in SHAPE_COLUMNS]
    for name in frame.layer_type.astype(str).unique():
        if name not in known:
            raise DataError(f"{table}: unknown layer_type '{name}'; known are {', '.join(known)}")
        _need(frame, SHAPE_COLUMNS[name], table, f"layer_type {name}")
    wrong = frame.precision[~frame.precision.isin(PRECISION_BYTES)]
    if len(wrong):
        raise DataError(f"{table}: row {wrong.index[0]}: precision={wrong.iloc[0]}: must be 0 (fp32) or 1 (fp16, bf16)")


def _need(frame: pd.DataFrame, columns: Sequence[str], table: str, why: str) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(
            f"{table}: lacks the column(s) {', '.join(missing)}, needed for {why}; "
            f"it has {', '.join(map(str, frame.columns))}"
        )


def _kernel_rows(frame: pd.DataFrame, kind: str, table: str, sources: Sequence[str], dtype: torch.dtype) -> LayerTable:
    shape = {name: _sizes(frame, name, table) for name in SHAPE_COLUMNS[kind]}
    precision = frame.precision.to_numpy(dtype=np.int64)
    size = np.where(precision == 1, float(PRECISION_BYTES[1]), float(PRECISION_BYTES[0]))
    op = frame.op.astype(str).to_numpy() if "op" in frame else np.full(len(frame), kind)
    values = _counted(kind, shape, op, size)
    for name, column in (("flops", "flops"), ("bytes_moved", "bytes")):
        if column in frame:
            given = frame[column].to_numpy(dtype=float)
            values[name] = np.where(np.isfinite(given), given, values[name])
    if np.any(values["flops"] <= 0.0) or np.any(values["bytes_moved"] <= 0.0):
        raise DataError(f"{table}: flops and bytes of {kind} rows must be positive; drop empty layers")
    values["activation_bytes"] = np.maximum(values["bytes_moved"] - values["weight_bytes"], size)
    number = len(frame)
    zeros = np.zeros(number)
    described = {name: _optional(frame, name) for name in ("embed_dim", "num_heads", "mlp_ratio", "seq_len")}
    standard = {"groups": 1.0, "window": 1.0, "count": 1.0, "operands": 2.0, "operations": 1.0}
    columns = {**{name: value + zeros for name, value in standard.items()}, **values, **described}
    return LayerTable(
        layer=torch.arange(number),
        num_layers=number,
        kind=torch.full((number,), KERNEL_KINDS.index(kind)),
        layer_type=torch.full((number,), LAYER_TYPES.index(kind)),
        precision=torch.tensor(precision),
        source=torch.tensor(_source_numbers(frame, sources)),
        **{name: torch.tensor(column, dtype=dtype) for name, column in columns.items()},
    )


def _counted(
    kind: str, shape: dict[str, Float[np.ndarray, " n"]], op: np.ndarray, size: Float[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Shape in product form, FLOPs, bytes and weights, each operand counted once."""
    if kind in ("linear", "matmul_batched"):
        return _counted_product(kind, shape, size)
    if kind == "conv2d":
        return _counted_convolution(shape, size)
    batch = shape["B"]
    if kind == "sdpa":
        heads, tokens, depth = shape["num_heads"], shape["M"], shape["K"]
        return {
            "flops": 4 * batch * heads * tokens**2 * depth,
            "bytes_moved": 4 * batch * heads * tokens * depth * size,
            "weight_bytes": 0.0 * batch,
            "groups": batch * heads,
            "rows": tokens,
            "columns": tokens,
            "depth": depth,
        }
    width = shape["H"]
    per_value = np.array([FLOPS_PER_VALUE.get(kind, FLOPS_PER_VALUE.get(name, 1.0)) for name in op])
    operands = np.where(np.isin(op, BINARY_OPS), 3.0, 2.0)
    return {
        "flops": per_value * batch * width,
        "bytes_moved": operands * batch * width * size,
        "weight_bytes": (2.0 if kind == "layernorm" else 0.0) * width * size,
        "rows": batch,
        "columns": width,
        "depth": 0.0 * batch,
        "operands": operands,
        "operations": per_value,
    }


def _counted_product(
    kind: str, shape: dict[str, Float[np.ndarray, " n"]], size: Float[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    batch, rows, depth, columns = (shape[name] for name in ("B", "M", "K", "N"))
    shared = kind == "linear"
    weights = depth * columns * size if shared else 0.0 * batch
    right = weights if shared else batch * depth * columns * size
    return {
        "flops": 2 * batch * rows * depth * columns,
        "bytes_moved": batch * rows * (depth + columns) * size + right,
        "weight_bytes": weights,
        "groups": 1.0 + 0.0 * batch if shared else batch,
        "rows": batch * rows if shared else rows,
        "columns": columns,
        "depth": depth,
    }


def _counted_convolution(
    shape: dict[str, Float[np.ndarray, " n"]], size: Float[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    batch, inputs, outputs, window, side = (shape[name] for name in ("B", "Cin", "Cout", "ksize", "hw"))
    side_out = np.maximum(np.floor((side + 2 * shape["padding"] - window) / shape["stride"]) + 1, 1.0)
    pixels = batch * side_out**2
    weights = outputs * inputs * window**2 * size
    return {
        "flops": 2 * pixels * outputs * inputs * window**2,
        "bytes_moved": (batch * inputs * side**2 + pixels * outputs) * size + weights,
        "weight_bytes": weights,
        "rows": pixels,
        "columns": outputs,
        "depth": inputs * window**2,
        "window": window,
    }


def _sizes(frame: pd.DataFrame, name: str, table: str) -> Float[np.ndarray, " n"]:
    values = frame[name].astype("float64").to_numpy(dtype=float, na_value=np.nan)
    least = 0.0 if name == "padding" else 1.0
    wrong = np.flatnonzero(~(values >= least))
    if len(wrong):
        row = frame.index[wrong[0]]
        raise DataError(
            f"{table}: row {row} ({frame.layer_type.iloc[wrong[0]]}): {name}={values[wrong[0]]:g}: "
            f"must be at least {least:g}"
        )
    return values


def _optional(frame: pd.DataFrame, name: str) -> Float[np.ndarray, " n"]:
    if name not in frame:
        return np.zeros(len(frame))
    return np.nan_to_num(frame[name].astype("float64").to_numpy(dtype=float, na_value=np.nan))


def _source_numbers(frame: pd.DataFrame, sources: Sequence[str]) -> list[int]:
    if "source" not in frame:
        return [UNKNOWN_SOURCE] * len(frame)
    numbers = {name: position for position, name in enumerate(sources)}
    return [numbers.get(name, UNKNOWN_SOURCE) for name in frame.source.astype(str)]


def _composite_row(row: Mapping[Any, Any], sources: Sequence[str], dtype: torch.dtype) -> LayerTable:
    sizes = {name: float(row[name]) for name in ("flops", "seq_len", "num_heads", "mlp_ratio")}
    cost = CompositeCost(
        kind=str(row["layer_type"]), bytes_weights=0.0, bytes_activations=0.0, embed_dim=int(row["embed_dim"]), **sizes
    )
    kernels = kernels_of_layer(cost, int(row["B"]), PRECISION_BYTES[int(row["precision"])])
    source = {name: position for position, name in enumerate(sources)}.get(str(row.get("source")), UNKNOWN_SOURCE)
    return table_from_kernels([{**kernel, "layer": 0, "source": source} for kernel in kernels], 1, dtype)
