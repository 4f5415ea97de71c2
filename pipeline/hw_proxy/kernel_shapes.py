"""Shapes of kernels to measure or to model: products, norms, softmax, maps and attention as transformers launch them.

Sizes are drawn log-uniformly, so that small and large launches, memory-bound and compute-bound ones, all appear; a
proxy fitted on them must not extrapolate to a vision transformer of any usual size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SIZES = {
    "rows": (16, 65_536),
    "width": (32, 3_072),
    "tokens": (49, 3_200),
    "groups": (1, 240),
}
HEAD_DIMS = (32, 48, 64, 96)
SHARES = {"linear": 0.35, "sdpa": 0.2, "matmul_batched": 0.15, "elementwise": 0.14, "layernorm": 0.08, "softmax": 0.08}
OPS = {"linear": "linear", "matmul_batched": "bmm", "layernorm": "ln", "softmax": "softmax", "sdpa": "sdpa"}
COLUMNS = ["layer_type", "op", "precision", "B", "M", "N", "K", "H", "num_heads", "flops", "bytes"]
NUMBER_BYTES = {0: 4, 1: 2}
FLOPS_PER_VALUE = {"ln": 8.0, "softmax": 5.0, "gelu": 8.0, "add": 1.0}
OPERANDS = {"ln": 2.0, "softmax": 2.0, "gelu": 2.0, "add": 3.0}


def kernel_shapes(
    count: int,
    seed: int = 0,
    *,
    max_flops: float = np.inf,
    max_bytes: float = np.inf,
    precisions: tuple[int, ...] = (0, 1),
) -> pd.DataFrame:
    """About `count` kernels in the columns of a measured table, without the measured ones.

    Args:
        max_flops, max_bytes: larger kernels are drawn again.
        precisions: 0 is fp32, 1 is 16-bit; taken in turn.
    """
    rng = np.random.default_rng([seed, count])
    rows = []
    for kind, share in SHARES.items():
        for position in range(max(4, round(share * count))):
            precision = precisions[position % len(precisions)]
            row = _draw(rng, kind, precision, position)
            while row["flops"] > max_flops or row["bytes"] > max_bytes:
                row = _draw(rng, kind, precision, position)
            rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    whole = ["B", "M", "N", "K", "H", "num_heads"]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _draw(rng: np.random.Generator, kind: str, precision: int, position: int) -> dict[str, Any]:
    def size(name: str) -> int:
        low, high = SIZES[name]
        return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))

    number_bytes = NUMBER_BYTES[precision]
    if kind == "linear":
        M, K, N = size("rows"), size("width"), size("width")
        shape = {"B": 1, "M": M, "K": K, "N": N}
        flops, values = 2.0 * M * K * N, M * (K + N) + K * N
    elif kind == "matmul_batched":
        B, M, K, N = size("groups"), size("tokens"), int(rng.choice(HEAD_DIMS)), size("tokens")
        shape = {"B": B, "M": M, "K": K, "N": N} if position % 2 else {"B": B, "M": M, "K": N, "N": K}
        flops, values = 2.0 * B * M * K * N, B * (M * K + K * N + M * N)
    elif kind == "sdpa":
        heads, tokens, depth = int(rng.integers(1, 13)), size("tokens"), int(rng.choice(HEAD_DIMS))
        batch = max(1, size("groups") // heads)
        shape = {"B": batch, "M": tokens, "N": tokens, "K": depth, "num_heads": heads}
        flops, values = 4.0 * batch * heads * tokens**2 * depth, 4 * batch * heads * tokens * depth
    else:
        op = ("add", "gelu")[position // 2 % 2] if kind == "elementwise" else OPS[kind]
        B, H = size("rows"), size("width")
        return {
            "layer_type": kind,
            "op": op,
            "precision": precision,
            "B": B,
            "H": H,
            "flops": FLOPS_PER_VALUE[op] * B * H,
            "bytes": OPERANDS[op] * B * H * number_bytes,
        }
    costs = {"flops": flops, "bytes": float(values * number_bytes)}
    return {"layer_type": kind, "op": OPS[kind], "precision": precision, **shape, **costs}
