"""One layer as the spec writes it (§7.2, §7.3): a mapping, whose numbers may be live tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..errors import DataError
from .layer_kernels import kernels_of_layer
from .layer_table import (
    COMPOSITE_KINDS,
    KERNEL_KINDS,
    LAYER_TYPES,
    PRECISION_BYTES,
    LayerOfTable,
    LayerTable,
    Number,
    join_tables,
    table_from_kernels,
)

NEEDED = ("flops", "bytes", "layer_type", "precision")


@dataclass(frozen=True)
class ConfiguredCost:
    """A layer config in the shape of a `LayerCost`."""

    kind: str
    flops: Number
    bytes_weights: Number
    bytes_activations: Number
    seq_len: Number
    embed_dim: int
    num_heads: Number
    mlp_ratio: Number


def layer_from_config(layer_cfg: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> LayerTable:
    """The kernels of one layer, its bytes scaled to those given.

    Transformer layers (`embed attention mlp head block`) become their kernels; any other type, `segment` among them,
    one product of `seq_len` vectors of `embed_dim`. `batch` (1), `rows columns depth groups` may be given beside.

    Raises:
        DataError: a missing key, an unknown layer type or precision.
    """
    missing = [key for key in NEEDED if key not in layer_cfg]
    if missing:
        raise DataError(f"layer config lacks {', '.join(missing)}; it has {', '.join(map(str, layer_cfg))}")
    layer_type = layer_cfg["layer_type"]
    if layer_type not in LAYER_TYPES:
        raise DataError(f"layer config: unknown layer_type '{layer_type}'; known are {', '.join(LAYER_TYPES)}")
    code = precision_code(layer_cfg["precision"])
    described = {name: layer_cfg.get(name, 0.0) for name in ("embed_dim", "num_heads", "mlp_ratio", "seq_len")}
    if layer_type not in COMPOSITE_KINDS:
        kernel = {**described, **_single(layer_cfg), "layer": 0, "layer_type": layer_type, "precision": code}
        return table_from_kernels([kernel], 1, dtype)
    weights = layer_cfg.get("weight_bytes", 0.0)
    cost = ConfiguredCost(layer_type, layer_cfg["flops"], weights, layer_cfg["bytes"], **_known(layer_type, described))
    kernels = kernels_of_layer(cost, int(layer_cfg.get("batch", 1)), PRECISION_BYTES[code])
    table = table_from_kernels([{**kernel, "layer": 0} for kernel in kernels], 1, dtype)
    scale = torch.as_tensor(layer_cfg["bytes"], dtype=dtype) / table.bytes_moved.sum().clamp(min=1e-9)
    return replace(table, bytes_moved=table.bytes_moved * scale)


def layers_of(segments: LayerTable | Sequence[Mapping[str, Any]]) -> LayerTable:
    """A table whose layers are the given segments.

    A segment is a mapping with its `kernels` (a table), with `layers` (a list of layer configs), or a layer config.

    Raises:
        DataError: no segment, or one that cannot be read.
    """
    if isinstance(segments, LayerTable):
        return segments
    if not segments:
        raise DataError("no segments: give at least one")
    return join_tables([_segment(segment) for segment in segments])


def _segment(segment: Mapping[str, Any]) -> LayerTable | LayerOfTable:
    if isinstance(segment.get("kernels"), LayerOfTable):
        return segment["kernels"]
    if isinstance(segment.get("kernels"), LayerTable):
        table = segment["kernels"]
    else:
        layers = segment.get("layers", [segment])
        if not layers:
            raise DataError("segment config: `layers` is empty; give at least one layer")
        table = join_tables([layer_from_config(layer) for layer in layers])
    return table.with_layers(torch.zeros_like(table.layer), 1)


def precision_code(precision: Any) -> int:
    """0 for fp32 and 1 for fp16 or bf16, from that code or from bytes per number (4 or 2).

    Raises:
        DataError: anything else.
    """
    codes = {**{code: code for code in PRECISION_BYTES}, **{size: code for code, size in PRECISION_BYTES.items()}}
    if precision not in codes:
        raise DataError(f"layer config: precision={precision}: must be 0 or 4 (fp32), or 1 or 2 (fp16, bf16)")
    return codes[precision]


def _known(layer_type: str, described: dict[str, Any]) -> dict[str, Any]:
    for name in ("embed_dim", "seq_len", *(("num_heads",) if layer_type in ("attention", "block") else ())):
        if not float(described[name]) > 0.0:
            raise DataError(f"layer config: {layer_type} needs {name} above 0, it is {float(described[name]):g}")
    return {**described, "embed_dim": int(described["embed_dim"])}


def _single(layer_cfg: Mapping[str, Any]) -> dict[str, Any]:
    kind = layer_cfg["layer_type"] if layer_cfg["layer_type"] in KERNEL_KINDS else "linear"
    rows = layer_cfg.get("rows", float(layer_cfg.get("batch", 1)) * max(float(layer_cfg.get("seq_len", 0)), 1.0))
    depth = layer_cfg.get("depth", max(float(layer_cfg.get("embed_dim", 0)), 1.0))
    groups = layer_cfg.get("groups", 1.0)
    per_column = 2 * float(groups) * float(rows) * float(depth) if kind in ("linear", "matmul_batched") else float(rows)
    columns = layer_cfg.get("columns", max(float(layer_cfg["flops"]) / per_column, 1.0))
    weights = layer_cfg.get("weight_bytes", 0.0)
    return {
        "kind": kind,
        "flops": layer_cfg["flops"],
        "bytes_moved": layer_cfg["bytes"],
        "weight_bytes": weights,
        "activation_bytes": layer_cfg.get("act_bytes", layer_cfg["bytes"] - weights),
        "groups": groups,
        "rows": rows,
        "columns": columns,
        "depth": depth,
    }
