"""Rows of a layer table as operations one can run: what `profile_host` times, on the CPU or a CUDA device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

DTYPES = {0: torch.float32, 1: torch.bfloat16}
MARK = "operation "
PATCH_VALUES = 768  # a 16 x 16 patch of three colours

Operation = Callable[[], Tensor]


def kernel_operation(row: Mapping[str, Any], device: torch.device) -> Operation:
    """One launch of a kernel row (`layer_type`, `op`, `precision` and its shape), on tensors made here."""
    make = _maker(int(row["precision"]), device)
    kind = row["layer_type"]
    if kind == "linear":
        x, weight, bias = make(row["B"] * row["M"], row["K"]), make(row["N"], row["K"]), make(row["N"])
        return lambda: functional.linear(x, weight, bias)
    if kind == "matmul_batched":
        left, right = make(row["B"], row["M"], row["K"]), make(row["B"], row["K"], row["N"])
        return lambda: torch.bmm(left, right)
    if kind == "sdpa":
        query, key, value = (make(row["B"], row["num_heads"], row["M"], row["K"]) for _ in range(3))
        return lambda: functional.scaled_dot_product_attention(query, key, value)
    x = make(row["B"], row["H"])
    if kind == "layernorm":
        weight, bias = make(row["H"]), make(row["H"])
        return lambda: functional.layer_norm(x, (int(row["H"]),), weight, bias)
    if kind == "softmax":
        return lambda: functional.softmax(x, dim=-1)
    if row["op"] == "gelu":
        return lambda: functional.gelu(x)
    other = make(row["B"], row["H"])
    return lambda: x + other


def layer_operation(row: Mapping[str, Any], device: torch.device) -> Operation:
    """One whole layer of a vision transformer: `embed`, `attention`, `mlp` or `block`, inference only."""
    make = _maker(int(row["precision"]), device)
    width, heads = int(row["embed_dim"]), int(row["num_heads"])
    hidden = round(width * row["mlp_ratio"])
    if row["layer_type"] == "embed":
        patches, weight, place = make(row["B"], row["seq_len"], PATCH_VALUES), make(width, PATCH_VALUES), make(width)
        return lambda: functional.linear(patches, weight) + place
    x = make(row["B"], row["seq_len"], width)
    norm, shift = make(width), make(width)
    qkv, out = make(3 * width, width), make(width, width)
    expand, contract = make(hidden, width), make(width, hidden)

    def attention(tokens: Tensor) -> Tensor:
        normed = functional.layer_norm(tokens, (width,), norm, shift)
        parts = functional.linear(normed, qkv).unflatten(-1, (3, heads, width // heads)).unbind(2)
        mixed = functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        return tokens + functional.linear(mixed.transpose(1, 2).flatten(2), out)

    def mlp(tokens: Tensor) -> Tensor:
        normed = functional.layer_norm(tokens, (width,), norm, shift)
        return tokens + functional.linear(functional.gelu(functional.linear(normed, expand)), contract)

    run = {"attention": attention, "mlp": mlp, "block": lambda tokens: mlp(attention(tokens))}[row["layer_type"]]
    return lambda: run(x)


def _maker(precision: int, device: torch.device) -> Callable[..., Tensor]:
    def make(*sizes: int) -> Tensor:
        return torch.randn(*(int(size) for size in sizes), dtype=torch.float32, device=device).to(DTYPES[precision])

    return make


def activation_peaks_bytes(operations: Sequence[Operation], device: torch.device) -> list[int]:
    """The most that one run of each allocates at a time, its result included; the same on every call."""
    if device.type == "cuda":
        return [_peak_on_cuda(operation, device) for operation in operations]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler reports its own start and stop otherwise
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        for number, operation in enumerate(operations):
            with torch.profiler.record_function(f"{MARK}{number}"):
                operation()
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    if results is None:
        raise RuntimeError("torch's profiler returned no events")
    events = sorted(results.events(), key=lambda event: event.start_ns())
    memory = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    spans = {event.name(): (event.start_ns(), event.end_ns()) for event in events if event.name().startswith(MARK)}
    return [_highest(memory, *spans[f"{MARK}{number}"]) for number in range(len(operations))]


def _highest(memory: list[tuple[int, int]], start_ns: int, end_ns: int) -> int:
    held, peak = 0, 0
    for when_ns, change in memory:
        if start_ns <= when_ns <= end_ns:
            held += change
            peak = max(peak, held)
    return peak


def _peak_on_cuda(operation: Operation, device: torch.device) -> int:
    operation()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    operation()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
