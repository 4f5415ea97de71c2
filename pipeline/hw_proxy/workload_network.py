"""The workload as something one can run: a network of random weights with the kept tokens, heads and hidden units.

It has the sizes and the flow of a compacted model, so its measured time is that of the deployed design. Accuracy is
none of its business.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ..config.hardware import WorkloadConfig
from .workload import KeepRatios

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def workload_network(
    workload: WorkloadConfig, keep: KeepRatios, device: torch.device, seed: int = 0
) -> Callable[[], Tensor]:
    """A function that runs one batch through the network a design leaves, in inference.

    Heads, hidden units and tokens are rounded to whole numbers; a branch whose gate is below one half is left out.
    """
    ratios = keep.detach().spread_over(workload.depth)
    generator = torch.Generator().manual_seed(seed)

    def make(*sizes: int) -> Tensor:
        drawn = torch.randn(*sizes, generator=generator) * sizes[-1] ** -0.5
        return drawn.to(device=device, dtype=DTYPES[workload.precision])

    width, head_dim = workload.dim, workload.dim // workload.heads
    patches = workload.frames * (workload.img // workload.patch) ** 2
    clip = make(workload.batch, patches, 3 * workload.patch**2)
    embed, place, cls = make(width, 3 * workload.patch**2), make(patches, width), make(workload.batch, 1, width)
    blocks = []
    for index in range(workload.depth):
        heads = max(1, round(float(ratios.heads[index]) * workload.heads)) if ratios.attention[index] >= 0.5 else 0
        hidden = round(float(ratios.channels[index]) * width * workload.mlp_ratio) if ratios.mlp[index] >= 0.5 else 0
        kept = 1 + round(float(ratios.tokens[index]) * patches)
        blocks.append(_block(make, width, heads, head_dim, hidden, kept))
    norm, shift, classify = make(width), make(width), make(101, width)

    def run() -> Tensor:
        tokens = torch.cat([cls, functional.linear(clip, embed) + place], dim=1)
        for block in blocks:
            tokens = block(tokens)
        return functional.linear(functional.layer_norm(tokens, (width,), norm, shift)[:, 0], classify)

    return run


def _block(
    make: Callable[..., Tensor], width: int, heads: int, head_dim: int, hidden: int, kept: int
) -> Callable[[Tensor], Tensor]:
    inner = heads * head_dim
    norms = [make(width) for _ in range(4)]
    qkv, out = (make(3 * inner, width), make(width, inner)) if heads else (None, None)
    expand, contract = (make(hidden, width), make(width, hidden)) if hidden else (None, None)

    def run(tokens: Tensor) -> Tensor:
        if tokens.shape[1] > kept:
            tokens = tokens[:, :kept].contiguous()
        if qkv is not None and out is not None:
            normed = functional.layer_norm(tokens, (width,), norms[0], norms[1])
            parts = functional.linear(normed, qkv).unflatten(-1, (3, heads, head_dim)).unbind(2)
            mixed = functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
            tokens = tokens + functional.linear(mixed.transpose(1, 2).flatten(2), out)
        if expand is not None and contract is not None:
            normed = functional.layer_norm(tokens, (width,), norms[2], norms[3])
            tokens = tokens + functional.linear(functional.gelu(functional.linear(normed, expand)), contract)
        return tokens

    return run
