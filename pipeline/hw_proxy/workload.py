"""The deployed network whose costs a small trained network decides (DESIGN: deployment workload).

A network that trains in minutes fits one chip and sends next to nothing, so nothing could be learned about chips from
its own size. Therefore the trained network gives only *ratios*, which tokens, heads, hidden units and blocks it keeps,
and costs are counted at the sizes of `hw.workload`. Block l of the workload, of depth D, takes the ratios of the
trained block floor(l·L/D), of L. Ratios may be live tensors: FLOPs, bytes and launches then carry gradients to the
gates. What choosing the tokens costs is not counted.

Kernels, with X = batch·tokens·width values and kept shares h of heads and c of hidden units: attention is a norm
(2X moved), q-k-v, fused attention (4Xh) or score product, softmax and value product, the output map, the residual sum
(3X); an MLP is a norm, expansion, GELU, contraction, the sum. A gate scales how often its block's kernels are launched,
so that a closed block also saves its launches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..config.hardware import WorkloadConfig
from ..errors import DataError
from .kernel_rows import GELU_FLOPS, KernelRows
from .layer_table import LayerTable, same_layers

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
NUM_CLASSES = 101
SMALLEST_SHARE = 1e-3  # of heads or hidden units in an open layer: a proxy takes logarithms of sizes


@dataclass(frozen=True)
class KeepRatios:
    """What a trained network of L blocks keeps; every entry is in [0, 1] and may carry a gradient.

    Attributes:
        tokens: share of the patch tokens that reach each block.
        heads: share of heads each block keeps.
        channels: share of hidden units each MLP keeps.
        attention, mlp: how far each block's attention and MLP are open (1 runs, 0 is skipped).
    """

    tokens: Float[Tensor, " L"]
    heads: Float[Tensor, " L"]
    channels: Float[Tensor, " L"]
    attention: Float[Tensor, " L"]
    mlp: Float[Tensor, " L"]

    def __post_init__(self) -> None:
        names = ("tokens", "heads", "channels", "attention", "mlp")
        least, most = torch.cat([getattr(self, name).detach() for name in names]).aminmax()
        if least.item() >= 0.0 and most.item() <= 1.0 + 1e-6:
            return
        for name in names:
            values = getattr(self, name).detach()
            if not bool(((values >= 0.0) & (values <= 1.0 + 1e-6)).all()):
                raise DataError(f"keep ratios: {name}={values.tolist()}: each must lie between 0 and 1")

    def spread_over(self, depth: int) -> KeepRatios:
        """The ratios of a network of `depth` blocks: its block l takes those of block floor(l·L/depth)."""
        trained = self.tokens.shape[0]
        index = torch.arange(depth) * trained // depth
        return KeepRatios(*torch.stack(list(vars(self).values()))[:, index].unbind())

    def detach(self) -> KeepRatios:
        """The same numbers without gradients."""
        return replace(self, **{name: value.detach() for name, value in vars(self).items()})


def keep_everything(depth: int = 1, dtype: torch.dtype = torch.float32) -> KeepRatios:
    """The ratios of a dense network."""
    ones = torch.ones(depth, dtype=dtype)
    return KeepRatios(ones, ones, ones, ones, ones)


@dataclass(frozen=True)
class WorkloadLayer:
    """What one layer of the workload costs per batch; the fields of a `LayerCost`, and what it holds in memory.

    Attributes:
        bytes_resident: activations alive at its widest point: attention X(2 + 3h), MLP X(2 + mlp_ratio·c).
    """

    index: int
    kind: str
    flops: Tensor
    bytes_weights: Tensor
    bytes_activations: Tensor
    bytes_resident: Tensor
    seq_len: Tensor
    embed_dim: int
    num_heads: Tensor
    mlp_ratio: Tensor


@dataclass(frozen=True)
class WorkloadCosts:
    """The workload's kernels, and the sums of each of its layers: embedding, (attention, MLP) per block, head."""

    kernels: LayerTable
    layers: list[WorkloadLayer]


def workload_costs(workload: WorkloadConfig, keep: KeepRatios, num_classes: int = NUM_CLASSES) -> WorkloadCosts:
    """Kernels and layers of the workload under the given keep ratios, differentiable in them."""
    ratios = keep.spread_over(workload.depth)
    sizes = _sizes(workload, ratios)
    parts = [
        *_embed_kernels(workload, sizes.tokens.dtype),
        *_attention_kernels(workload, ratios, sizes),
        *_mlp_kernels(workload, ratios, sizes),
        *_head_kernels(workload, sizes, num_classes),
    ]
    kernels = same_layers(parts, torch.cat([part.layer for part in parts]), 2 * workload.depth + 2)
    return WorkloadCosts(kernels, _layers(workload, ratios, sizes, kernels))


def ratios_from_shape(shape: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> KeepRatios:
    """Keep ratios of a compacted network, from plain numbers per block: the fields of `KeepRatios` as lists.

    Raises:
        DataError: a field is missing, or lengths differ.
    """
    names = tuple(KeepRatios.__annotations__)
    missing = [name for name in names if name not in shape]
    if missing:
        raise DataError(f"keep ratios lack {', '.join(missing)}; give one number per block of {', '.join(names)}")
    lengths = {name: len(shape[name]) for name in names}
    if len(set(lengths.values())) != 1 or not lengths["tokens"]:
        raise DataError(f"keep ratios have {lengths} entries; give one per block")
    return KeepRatios(**{name: torch.tensor([float(value) for value in shape[name]], dtype=dtype) for name in names})


@dataclass(frozen=True)
class _Sizes:
    """Bytes per number, patches per clip; and per block: token vectors of a batch, tokens with CLS, kept widths."""

    bytes: int
    patches: float
    vectors: Float[Tensor, " D"]
    tokens: Float[Tensor, " D"]
    heads: Float[Tensor, " D"]
    inner: Float[Tensor, " D"]
    hidden: Float[Tensor, " D"]
    blocks: Tensor


def _sizes(workload: WorkloadConfig, ratios: KeepRatios) -> _Sizes:
    patches = workload.frames * (workload.img // workload.patch) ** 2
    heads = ratios.heads.clamp_min(SMALLEST_SHARE) * workload.heads
    tokens = 1.0 + ratios.tokens * patches
    return _Sizes(
        bytes=BYTES[workload.precision],
        patches=float(patches),
        vectors=workload.batch * tokens,
        tokens=tokens,
        heads=heads,
        inner=heads * workload.dim / workload.heads,
        hidden=ratios.channels.clamp_min(SMALLEST_SHARE) * workload.dim * workload.mlp_ratio,
        blocks=torch.arange(workload.depth),
    )


def _layers(workload: WorkloadConfig, ratios: KeepRatios, sizes: _Sizes, kernels: LayerTable) -> list[WorkloadLayer]:
    # One operation for all layers, then one `unbind`: this runs at every training step.
    counted = torch.stack([kernels.flops, kernels.weight_bytes, kernels.activation_bytes]) * kernels.count
    summed = counted.new_zeros(3, kernels.num_layers).index_add(1, kernels.layer, counted)
    rows = zip(
        *(values.unbind() for values in summed), _resident_bytes(workload, ratios, sizes), _tokens(sizes), strict=True
    )
    heads, widths = (_by_layer(values) for values in (sizes.heads, sizes.hidden / workload.dim))
    kinds = ["embed", *["attention", "mlp"] * workload.depth, "head"]
    return [
        WorkloadLayer(
            index=index,
            kind=kinds[index],
            flops=flops,
            bytes_weights=weight,
            bytes_activations=activations,
            bytes_resident=held,
            seq_len=seen,
            embed_dim=workload.dim,
            num_heads=heads[index],
            mlp_ratio=widths[index],
        )
        for index, (flops, weight, activations, held, seen) in enumerate(rows)
    ]


def _by_layer(values: Float[Tensor, " D"]) -> tuple[Tensor, ...]:
    """What each block has, for its attention and its MLP; embedding and head get what is next to them."""
    return torch.cat([values[:1], values.repeat_interleave(2), values[-1:]]).unbind()


def _tokens(sizes: _Sizes) -> list[Tensor]:
    """Tokens each layer works on; the embedding makes all of them."""
    all_tokens = torch.full_like(sizes.tokens[0].detach(), 1.0 + sizes.patches)
    return [all_tokens, *sizes.tokens.repeat_interleave(2).unbind(), sizes.tokens[-1]]


def _resident_bytes(workload: WorkloadConfig, ratios: KeepRatios, sizes: _Sizes) -> list[Tensor]:
    """Activations each layer holds at once; a closed layer only passes its input on."""
    stream = sizes.vectors * workload.dim
    attention = stream + ratios.attention * (stream + 3.0 * sizes.vectors * sizes.inner)
    mlp = stream + ratios.mlp * (stream + sizes.vectors * sizes.hidden)
    frames = workload.batch * workload.frames * 3.0 * workload.img**2
    whole = torch.full_like(stream[0].detach(), workload.batch * sizes.patches * workload.dim)
    between = torch.stack([attention, mlp], dim=1).flatten()
    held = torch.cat([(whole + frames).reshape(1), between, stream[-1:]])
    return list((sizes.bytes * held).unbind())


@cache
def _embed_kernels(workload: WorkloadConfig, dtype: torch.dtype) -> list[LayerTable]:
    """No gate changes them, so they are made once."""
    patches = workload.frames * (workload.img // workload.patch) ** 2
    rows, inputs, width = (
        torch.tensor([float(value)], dtype=dtype)
        for value in (workload.batch * patches, 3 * workload.patch**2, workload.dim)
    )
    layer, count = torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=dtype)
    kernel = KernelRows("embed", BYTES[workload.precision], layer, count)
    return [kernel.linear(rows, inputs, width), kernel.elementwise(rows, width, flops=1.0, operands=3.0)]


def _attention_kernels(workload: WorkloadConfig, ratios: KeepRatios, sizes: _Sizes) -> list[LayerTable]:
    kernel = KernelRows("attention", sizes.bytes, 1 + 2 * sizes.blocks, ratios.attention)
    width = torch.full_like(sizes.tokens, float(workload.dim))
    head_dim = torch.full_like(sizes.tokens, workload.dim / workload.heads)
    if workload.attention == "fused":
        mixing = [kernel.fused_attention(workload.batch * sizes.heads, sizes.tokens, head_dim)]
    else:
        groups = workload.batch * sizes.heads
        mixing = [
            kernel.batched_product(groups, sizes.tokens, head_dim, sizes.tokens),
            kernel.softmax(groups * sizes.tokens, sizes.tokens),
            kernel.batched_product(groups, sizes.tokens, sizes.tokens, head_dim),
        ]
    return [
        kernel.norm(sizes.vectors, width),
        kernel.linear(sizes.vectors, width, 3.0 * sizes.inner),
        *mixing,
        kernel.linear(sizes.vectors, sizes.inner, width),
        kernel.elementwise(sizes.vectors, width, flops=1.0, operands=3.0),
    ]


def _mlp_kernels(workload: WorkloadConfig, ratios: KeepRatios, sizes: _Sizes) -> list[LayerTable]:
    kernel = KernelRows("mlp", sizes.bytes, 2 + 2 * sizes.blocks, ratios.mlp)
    width = torch.full_like(sizes.tokens, float(workload.dim))
    return [
        kernel.norm(sizes.vectors, width),
        kernel.linear(sizes.vectors, width, sizes.hidden),
        kernel.elementwise(sizes.vectors, sizes.hidden, flops=GELU_FLOPS, operands=2.0),
        kernel.linear(sizes.vectors, sizes.hidden, width),
        kernel.elementwise(sizes.vectors, width, flops=1.0, operands=3.0),
    ]


def _head_kernels(workload: WorkloadConfig, sizes: _Sizes, num_classes: int) -> list[LayerTable]:
    last = sizes.vectors[-1:]
    width = torch.full_like(last, float(workload.dim))
    layer = torch.tensor([2 * workload.depth + 1])
    kernel = KernelRows("head", sizes.bytes, layer, torch.ones_like(last.detach()))
    rows = torch.full_like(last.detach(), float(workload.batch))
    return [kernel.norm(last, width), kernel.linear(rows, width, torch.full_like(width, float(num_classes)))]
