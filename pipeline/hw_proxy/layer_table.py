"""Layers as the proxies read them: a table of kernels, each belonging to one layer.

A kernel is one launch on a device: a matrix product, a norm, a softmax, an elementwise map, a convolution or a
fused attention. A measured row is one kernel; a transformer's attention or MLP layer is several
(`pipeline.hw_proxy.layer_kernels`). Sizes are tensors, so costs that follow live gates stay differentiable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Number = int | float | Tensor

KERNEL_KINDS = ("linear", "matmul_batched", "layernorm", "softmax", "elementwise", "conv2d", "sdpa")
COMPOSITE_KINDS = ("embed", "attention", "mlp", "head", "block")
LAYER_TYPES = (*KERNEL_KINDS, *COMPOSITE_KINDS, "segment")
PRECISION_BYTES = {0: 4, 1: 2}
UNKNOWN_SOURCE = -1


@dataclass(frozen=True)
class LayerTable:
    """R kernels of `num_layers` layers.

    A matrix product is `groups` products of [rows, depth] x [depth, columns]; a norm, softmax or elementwise map
    works on [rows, columns]; a convolution counts as its implicit product (rows = output pixels, depth = inputs
    per output) with `window` > 1; fused attention has one group per head, rows queries, columns keys.

    Attributes:
        layer: layer each kernel belongs to, 0 .. num_layers - 1.
        num_layers: number of layers, of which some may have no kernel.
        kind: index into `KERNEL_KINDS`.
        layer_type: index into `LAYER_TYPES` of the layer it belongs to.
        count: how often it is launched; a gate in [0, 1] may scale it.
        flops, bytes_moved: of one launch; each operand counts once.
        weight_bytes: parameters resident for it.
        activation_bytes: its inputs and outputs together.
        groups, rows, columns, depth, window: its shape.
        operands, operations: tensors touched and FLOPs spent per value, of norms, softmax and elementwise maps;
            derived from bytes and FLOPs where not given. They belong to the shape: they stay where costs move.
        precision: 0 is fp32 without TF32, 1 is fp16 or bf16.
        source: index into the fitted proxy's measurement sources, or `UNKNOWN_SOURCE`.
        embed_dim, num_heads, mlp_ratio, seq_len: the spec's descriptors (§7.2), 0 where they mean nothing.
    """

    layer: Int[Tensor, " R"]
    num_layers: int
    kind: Int[Tensor, " R"]
    layer_type: Int[Tensor, " R"]
    count: Float[Tensor, " R"]
    flops: Float[Tensor, " R"]
    bytes_moved: Float[Tensor, " R"]
    weight_bytes: Float[Tensor, " R"]
    activation_bytes: Float[Tensor, " R"]
    groups: Float[Tensor, " R"]
    rows: Float[Tensor, " R"]
    columns: Float[Tensor, " R"]
    depth: Float[Tensor, " R"]
    window: Float[Tensor, " R"]
    precision: Int[Tensor, " R"]
    source: Int[Tensor, " R"]
    embed_dim: Float[Tensor, " R"]
    num_heads: Float[Tensor, " R"]
    mlp_ratio: Float[Tensor, " R"]
    seq_len: Float[Tensor, " R"]
    operands: Float[Tensor, " R"] = None  # type: ignore[assignment]
    operations: Float[Tensor, " R"] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.operands is not None and self.operations is not None:
            return
        values = (self.rows * self.columns).detach().clamp(min=1.0)
        width = torch.where(self.precision == 1, float(PRECISION_BYTES[1]), float(PRECISION_BYTES[0]))
        derived = {"operands": self.bytes_moved / values / width, "operations": self.flops / values}
        for name, value in derived.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value.detach())

    def __len__(self) -> int:
        return len(self.kind)

    def reordered(self, kernels: Tensor) -> LayerTable:
        """The kernels at the given positions (or where a mask is true), in their layers."""
        return replace(self, **{name: getattr(self, name)[kernels] for name in _COLUMNS})

    def select(self, kernels: Tensor) -> LayerTable:
        """The kernels at the given positions (or where a mask is true), each one a layer of its own."""
        chosen = self.reordered(kernels)
        return chosen.with_layers(torch.arange(len(chosen)), len(chosen))

    def with_layers(self, layer: Int[Tensor, " R"], num_layers: int) -> LayerTable:
        """The same kernels grouped into other layers, e.g. into segments."""
        return replace(self, layer=layer, num_layers=num_layers)

    def grouped(self, segment_of_layer: Int[Tensor, " L"], num_segments: int) -> LayerTable:
        """The same kernels with each layer replaced by the segment it lies in."""
        return self.with_layers(segment_of_layer[self.layer], num_segments)

    def one_by_one(self) -> list[LayerOfTable]:
        """One layer each, in order; `join_tables` of them all is this table again, at no cost."""
        return [LayerOfTable(self, layer) for layer in range(self.num_layers)]

    def divided(self, parts: int, width: int) -> LayerTable:
        """What one of `parts` chips launches when they share each layer (tensor parallelism, Megatron-LM 2019).

        Heads are dealt out, hidden units too: a product that reads the stream of `width` values divides its outputs,
        one that writes the stream its inputs (where both are as wide, both cost the same). Norms, and sums over the
        stream, are done by every part.
        """
        kinds = {name: self.kind == KERNEL_KINDS.index(name) for name in KERNEL_KINDS}
        number = torch.where(self.precision == 1, float(PRECISION_BYTES[1]), float(PRECISION_BYTES[0])).to(self.flops)
        whole = kinds["layernorm"] | (kinds["elementwise"] & (self.columns == width) & (self.operands > 2.5))
        outputs = kinds["linear"] & (self.depth == width)
        inputs = (kinds["linear"] | kinds["conv2d"]) & ~outputs
        share = torch.where(whole, 1.0, 1.0 / parts).to(self.flops)
        kept = torch.where(outputs, self.depth, torch.where(inputs, self.columns, 0.0)) * self.rows * number
        kept = kept * self.groups * (1.0 - share)
        by_group = kinds["sdpa"] | kinds["matmul_batched"]
        maps = (kinds["elementwise"] & ~whole) | kinds["softmax"]
        return replace(
            self,
            flops=self.flops * share,
            bytes_moved=self.bytes_moved * share + kept,
            weight_bytes=self.weight_bytes * share,
            activation_bytes=self.activation_bytes * share + kept,
            groups=torch.where(by_group, self.groups * share, self.groups),
            columns=torch.where(outputs | maps, self.columns * share, self.columns),
            depth=torch.where(inputs, self.depth * share, self.depth),
        )


_COLUMNS = tuple(field.name for field in fields(LayerTable) if field.name != "num_layers")


@dataclass(frozen=True)
class LayerOfTable:
    """One layer of a table, taken out only where it is looked at: live costs are counted at every training step."""

    whole: LayerTable
    layer: int

    def table(self) -> LayerTable:
        """The kernels of this layer alone, as a table of one layer."""
        chosen = self.whole.reordered(self.whole.layer == self.layer)
        return chosen.with_layers(torch.zeros_like(chosen.layer), 1)

    def divided(self, parts: int, width: int) -> LayerTable:
        """As `LayerTable.divided`."""
        return self.table().divided(parts, width)


def table_from_kernels(
    kernels: Sequence[dict[str, Any]], num_layers: int, dtype: torch.dtype = torch.float32
) -> LayerTable:
    """Build a table from one mapping per kernel: `layer kind flops bytes_moved precision` and what else is known.

    Numbers may be tensors that carry gradients. Missing sizes are 0, `count groups window operations` 1 and
    `operands` 2.
    """
    kinds = [KERNEL_KINDS.index(kernel["kind"]) for kernel in kernels]
    types = [LAYER_TYPES.index(kernel.get("layer_type", kernel["kind"])) for kernel in kernels]
    whole = {
        "layer": [kernel["layer"] for kernel in kernels],
        "kind": kinds,
        "layer_type": types,
        "precision": [kernel["precision"] for kernel in kernels],
        "source": [kernel.get("source", UNKNOWN_SOURCE) for kernel in kernels],
    }
    standard = {"count": 1.0, "groups": 1.0, "window": 1.0, "operands": 2.0, "operations": 1.0}
    real = [name for name in _COLUMNS if name not in whole]
    return LayerTable(
        num_layers=num_layers,
        **{name: torch.tensor(values, dtype=torch.long) for name, values in whole.items()},
        **{name: stack([kernel.get(name, standard.get(name, 0.0)) for kernel in kernels], dtype) for name in real},
    )


def stack(values: Sequence[Number], dtype: torch.dtype = torch.float32) -> Float[Tensor, " R"]:
    """Numbers and 0-dimensional tensors as one vector; gradients flow through the tensors."""
    if not any(isinstance(value, Tensor) for value in values):
        return torch.tensor([float(value) for value in values], dtype=dtype)
    return torch.stack([torch.as_tensor(value, dtype=dtype).reshape(()) for value in values])


def join_tables(tables: Sequence[LayerTable | LayerOfTable]) -> LayerTable:
    """Tables one after the other; layers are numbered on."""
    first = tables[0]
    if isinstance(first, LayerOfTable) and first.whole.num_layers == len(tables):
        same = (isinstance(one, LayerOfTable) and one.whole is first.whole for one in tables)
        if all(same) and [one.layer for one in tables] == list(range(len(tables))):
            return first.whole
    alone = [one.table() if isinstance(one, LayerOfTable) else one for one in tables]
    starts = itertools.accumulate((table.num_layers for table in alone[:-1]), initial=0)
    layer = torch.cat([table.layer + start for table, start in zip(alone, starts, strict=True)])
    return same_layers(alone, layer, sum(table.num_layers for table in alone))


def same_layers(tables: Sequence[LayerTable], layer: Int[Tensor, " R"], num_layers: int) -> LayerTable:
    """Kernels of several tables under new layer numbers, one per kernel."""
    columns = {name: torch.cat([getattr(table, name) for table in tables]) for name in _COLUMNS if name != "layer"}
    return LayerTable(layer=layer, num_layers=num_layers, **columns)
