"""The kernels a transformer layer launches, from its `LayerCost`.

Attention is a norm, the fused q-k-v projection, fused attention, the output projection and the residual sum; an MLP
is a norm, two linear maps around a GELU, and the residual sum. Kept heads and hidden units are read back from the
cost's FLOPs, so that pruned or gated costs give the kernels of the pruned layer, differentiably.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from ..errors import DataError
from .layer_table import COMPOSITE_KINDS, PRECISION_BYTES, LayerTable, Number, table_from_kernels

Kernel = dict[str, Any]


@runtime_checkable
class LayerCostRow(Protocol):
    """One layer's cost, as `pipeline.hw_proxy.flops_estimator` writes it; sizes for the whole batch."""

    @property
    def kind(self) -> str: ...
    @property
    def flops(self) -> Number: ...
    @property
    def bytes_weights(self) -> Number: ...
    @property
    def bytes_activations(self) -> Number: ...
    @property
    def seq_len(self) -> Number: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def num_heads(self) -> Number: ...
    @property
    def mlp_ratio(self) -> Number: ...


def layers_from_costs(
    costs: Sequence[LayerCostRow],
    *,
    batch_size: int = 1,
    precision_bytes: int = 4,
    keep: Sequence[Number] | None = None,
    dtype: torch.dtype = torch.float32,
) -> LayerTable:
    """The kernels of each layer cost; layer i of the table is `costs[i]`.

    Args:
        costs: as `flops_bytes_per_layer` lists them, for the whole batch; numbers may be live tensors.
        batch_size, precision_bytes: those the costs were counted with.
        keep: how much of each layer is run (a block gate): scales the number of launches. The costs themselves
            must then be those of the open layer.

    Raises:
        DataError: an unknown kind or precision.
    """
    gates = [1.0] * len(costs) if keep is None else list(keep)
    if len(gates) != len(costs):
        raise DataError(f"keep has {len(gates)} gates for {len(costs)} layers; give one per layer")
    kernels = [
        {**kernel, "layer": position, "count": gate}
        for position, (cost, gate) in enumerate(zip(costs, gates, strict=True))
        for kernel in kernels_of_layer(cost, batch_size, precision_bytes)
    ]
    return table_from_kernels(kernels, len(costs), dtype)


def kernels_of_layer(cost: LayerCostRow, batch_size: int, precision_bytes: int) -> list[Kernel]:
    """The launches of one layer.

    Raises:
        DataError: an unknown kind or precision.
    """
    if cost.kind not in COMPOSITE_KINDS:
        raise DataError(f"layer kind '{cost.kind}' is not one of {', '.join(COMPOSITE_KINDS)}")
    precisions = {size: number for number, size in PRECISION_BYTES.items()}
    if precision_bytes not in precisions:
        raise DataError(f"precision_bytes={precision_bytes}: must be 4 (fp32) or 2 (fp16, bf16)")
    width, tokens, size = cost.embed_dim, cost.seq_len, precision_bytes
    vectors = batch_size * tokens
    if cost.kind == "embed":
        kernels = _embed(cost, vectors, size)
    elif cost.kind == "head":
        classes = cost.flops / (2 * batch_size * width)
        kernels = [_norm(vectors, width, size), linear_kernel(batch_size, width, classes, size)]
    elif cost.kind == "mlp":
        kernels = _mlp(vectors, width, cost.flops / (4 * vectors * width), size)
    elif cost.kind == "attention":
        inner = cost.flops / (vectors * (8 * width + 4 * tokens))
        kernels = _attention(batch_size, tokens, width, inner, cost.num_heads, size)
    else:
        hidden = cost.mlp_ratio * width
        inner = (cost.flops - 4 * vectors * width * hidden) / (vectors * (8 * width + 4 * tokens))
        kernels = _attention(batch_size, tokens, width, inner, cost.num_heads, size)
        kernels += _mlp(vectors, width, hidden, size)
    described = {
        "layer_type": cost.kind,
        "precision": precisions[precision_bytes],
        "embed_dim": width,
        "num_heads": cost.num_heads,
        "mlp_ratio": cost.mlp_ratio,
        "seq_len": tokens,
    }
    return [{**kernel, **described} for kernel in kernels]


def _embed(cost: LayerCostRow, vectors: Number, size: int) -> list[Kernel]:
    inputs = cost.flops / (2 * vectors * cost.embed_dim)
    return [linear_kernel(vectors, inputs, cost.embed_dim, size), _add(vectors, cost.embed_dim, size)]


def _attention(batch: int, tokens: Number, width: int, inner: Number, heads: Number, size: int) -> list[Kernel]:
    vectors = batch * tokens
    moved = 4 * vectors * inner * size
    fused = {
        "kind": "sdpa",
        "flops": 4 * vectors * tokens * inner,
        "bytes_moved": moved,
        "activation_bytes": moved,
        "groups": batch * heads,
        "rows": tokens,
        "columns": tokens,
        "depth": inner / heads,
    }
    return [
        _norm(vectors, width, size),
        linear_kernel(vectors, width, 3 * inner, size),
        fused,
        linear_kernel(vectors, inner, width, size),
        _add(vectors, width, size),
    ]


def _mlp(vectors: Number, width: int, hidden: Number, size: int) -> list[Kernel]:
    return [
        _norm(vectors, width, size),
        linear_kernel(vectors, width, hidden, size),
        _elementwise(vectors, hidden, 8, 2, size),
        linear_kernel(vectors, hidden, width, size),
        _add(vectors, width, size),
    ]


def linear_kernel(vectors: Number, inputs: Number, outputs: Number, size: int) -> Kernel:
    """A linear map of `vectors` vectors, `size` bytes per number."""
    weights = inputs * outputs * size
    activations = vectors * (inputs + outputs) * size
    return {
        "kind": "linear",
        "flops": 2 * vectors * inputs * outputs,
        "bytes_moved": weights + activations,
        "weight_bytes": weights,
        "activation_bytes": activations,
        "rows": vectors,
        "columns": outputs,
        "depth": inputs,
    }


def _norm(vectors: Number, width: Number, size: int) -> Kernel:
    moved = 2 * vectors * width * size
    return {
        "kind": "layernorm",
        "flops": 8 * vectors * width,
        "bytes_moved": moved,
        "weight_bytes": 2 * width * size,
        "activation_bytes": moved,
        "rows": vectors,
        "columns": width,
        "operations": 8.0,
    }


def _add(vectors: Number, width: Number, size: int) -> Kernel:
    return _elementwise(vectors, width, 1, 3, size)


def _elementwise(vectors: Number, width: Number, flops: int, operands: int, size: int) -> Kernel:
    moved = operands * vectors * width * size
    return {
        "kind": "elementwise",
        "flops": flops * vectors * width,
        "bytes_moved": moved,
        "activation_bytes": moved,
        "rows": vectors,
        "columns": width,
        "operands": float(operands),
        "operations": float(flops),
    }
