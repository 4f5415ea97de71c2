"""One kernel for each of many layers at once: the costs of a launch from its sizes, as rows of a `LayerTable`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .layer_table import KERNEL_KINDS, LAYER_TYPES, UNKNOWN_SOURCE, LayerTable

GELU_FLOPS, NORM_FLOPS, SOFTMAX_FLOPS = 8.0, 8.0, 5.0


@cache
def _constant(value: int | float, number: int, dtype: torch.dtype) -> Tensor:
    """The same number throughout; tables are read only, so one serves all of them."""
    return torch.full((number,), value, dtype=dtype)


@dataclass(frozen=True)
class KernelRows:
    """Makes one kernel for each of the given layers.

    Attributes:
        layer_type: what the layers are, e.g. `attention`.
        number_bytes: bytes per number, 4 or 2.
        layer: the layers' numbers.
        count: how often each layer's kernels are launched, its gate.
    """

    layer_type: str
    number_bytes: int
    layer: Int[Tensor, " D"]
    count: Float[Tensor, " D"]

    @property
    def _none(self) -> Tensor:
        return _constant(0.0, len(self.layer), self.count.dtype)

    def linear(self, rows: Tensor, inputs: Tensor, outputs: Tensor) -> LayerTable:
        """A product of [rows, inputs] with weights [inputs, outputs]."""
        products = inputs * outputs
        weights = products * self.number_bytes
        activations = rows * (inputs + outputs) * self.number_bytes
        return self._table(
            "linear", 2.0 * rows * products, weights + activations, weights, activations, rows, outputs, inputs
        )

    def batched_product(self, groups: Tensor, rows: Tensor, inner: Tensor, columns: Tensor) -> LayerTable:
        """`groups` products of [rows, inner] x [inner, columns], both operands activations."""
        moved = groups * (rows * inner + inner * columns + rows * columns) * self.number_bytes
        flops = 2.0 * groups * rows * inner * columns
        return self._table("matmul_batched", flops, moved, self._none, moved, rows, columns, inner, groups=groups)

    def fused_attention(self, groups: Tensor, tokens: Tensor, head_dim: Tensor) -> LayerTable:
        """Attention of `groups` heads over `tokens` that never writes its scores."""
        values = groups * tokens * head_dim
        moved = 4.0 * self.number_bytes * values
        flops = 4.0 * values * tokens
        return self._table("sdpa", flops, moved, self._none, moved, tokens, tokens, head_dim, groups=groups)

    def norm(self, rows: Tensor, width: Tensor) -> LayerTable:
        """Layer normalisation of `rows` vectors."""
        values = rows * width
        moved = 2.0 * self.number_bytes * values
        weights = 2.0 * self.number_bytes * width
        flops = NORM_FLOPS * values
        return self._table("layernorm", flops, moved, weights, moved, rows, width, self._none, operations=NORM_FLOPS)

    def softmax(self, rows: Tensor, width: Tensor) -> LayerTable:
        """Softmax of `rows` vectors."""
        values = rows * width
        moved = 2.0 * self.number_bytes * values
        shape = (rows, width, self._none)
        return self._table(
            "softmax", SOFTMAX_FLOPS * values, moved, self._none, moved, *shape, operations=SOFTMAX_FLOPS
        )

    def elementwise(self, rows: Tensor, width: Tensor, flops: float, operands: float) -> LayerTable:
        """A map that reads and writes `operands` values, and computes `flops`, per element."""
        values = rows * width
        moved = operands * self.number_bytes * values
        shape = (rows, width, self._none)
        return self._table(
            "elementwise", flops * values, moved, self._none, moved, *shape, operands=operands, operations=flops
        )

    def _table(
        self,
        kind: str,
        flops: Tensor,
        moved: Tensor,
        weights: Tensor,
        activations: Tensor,
        rows: Tensor,
        columns: Tensor,
        depth: Tensor,
        groups: Tensor | None = None,
        operands: float = 2.0,
        operations: float = 1.0,
    ) -> LayerTable:
        number, dtype = len(self.layer), self.count.dtype
        ones, zeros = _constant(1.0, number, dtype), _constant(0.0, number, dtype)

        def whole(value: int) -> Tensor:
            return _constant(value, number, torch.long)

        return LayerTable(
            layer=self.layer,
            num_layers=number,
            kind=whole(KERNEL_KINDS.index(kind)),
            layer_type=whole(LAYER_TYPES.index(self.layer_type)),
            count=self.count,
            flops=flops,
            bytes_moved=moved,
            weight_bytes=weights,
            activation_bytes=activations,
            groups=ones if groups is None else groups,
            rows=rows,
            columns=columns,
            depth=depth,
            window=ones,
            operands=_constant(operands, number, dtype),
            operations=_constant(operations, number, dtype),
            precision=whole(0 if self.number_bytes == 4 else 1),
            source=whole(UNKNOWN_SOURCE),
            embed_dim=zeros,
            num_heads=zeros,
            mlp_ratio=zeros,
            seq_len=zeros,
        )
