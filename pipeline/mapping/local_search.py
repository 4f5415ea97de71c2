"""Greedy descent (spec §10.3 `greedy_local`) with delta evaluation: the best slot of one segment at a time."""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Int

from .bounds import finite
from .instance import CAPACITY_TOLERANCE_MB, MappingInstance


@numba.njit(cache=True)
@no_type_check
def _descend(m, latency, memory, capacity, send, hops, balanced, max_sweeps):
    K, S = latency.shape
    busy, used, trial = np.zeros(S), np.zeros(S), np.zeros(S)
    for k in range(K):
        used[m[k]] += memory[k]
        busy[m[k]] += latency[k, m[k]]
        if k + 1 < K:
            busy[m[k]] += send[k] * hops[m[k], m[k + 1]]
    for sweep in range(max_sweeps):
        improved = False
        for k in range(K):
            i = m[k]
            before = busy.max() if balanced else 0.0
            best, best_j = before - 1e-12, i
            for j in range(S):
                if j == i or used[j] + memory[k] > capacity[j]:
                    continue
                change = latency[k, j] - latency[k, i]
                after = m[k + 1] if k + 1 < K else i
                previous = m[k - 1] if k > 0 else i
                out_i = send[k] * hops[i, after] if k + 1 < K else 0.0
                out_j = send[k] * hops[j, after] if k + 1 < K else 0.0
                arrive = send[k - 1] * (hops[previous, j] - hops[previous, i]) if k > 0 else 0.0
                if balanced:
                    trial[:] = busy
                    trial[i] -= latency[k, i] + out_i
                    trial[j] += latency[k, j] + out_j
                    trial[previous] += arrive
                    value = trial.max()
                else:
                    value = change + out_j - out_i + arrive
                if value < best:
                    best, best_j = value, j
            if best_j != i:
                improved = True
                j = best_j
                if k + 1 < K:
                    busy[i] -= send[k] * hops[i, m[k + 1]]
                    busy[j] += send[k] * hops[j, m[k + 1]]
                if k > 0:
                    busy[m[k - 1]] += send[k - 1] * (hops[m[k - 1], j] - hops[m[k - 1], i])
                busy[i] -= latency[k, i]
                busy[j] += latency[k, j]
                used[i] -= memory[k]
                used[j] += memory[k]
                m[k] = j
        if not improved:
            return sweep + 1
    return max_sweeps


def descend(
    instance: MappingInstance, mapping: Int[np.ndarray, " K"], balanced: bool, max_sweeps: int = 1000
) -> Int[np.ndarray, " K"]:
    """Sweep over the segments, moving each to its best slot with room, until nothing improves; the input is kept."""
    result = mapping.astype(np.int64)
    _descend(
        result,
        finite(instance.latency_ms),
        instance.memory_mb,
        instance.capacity_mb + CAPACITY_TOLERANCE_MB,
        instance.send_ms_per_hop,
        instance.hops,
        balanced,
        max_sweeps,
    )
    return result
