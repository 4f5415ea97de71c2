"""Shortest paths through the chain x slots graph: the exact sub-problem of the bound, and of `dp`.

A path is a sequence of runs (contiguous segments on one slot). A run must respect the slot's memory and, under a
period limit, its time; a slot that is visited again later is not remembered. This relaxes the capacities less than
a plain Viterbi search does, at the same price.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np

# Sums that slide along the chain carry rounding errors; the slack keeps the path set a relaxation.
SLACK_MB = 2e-6
SLACK = 1e-9


@numba.njit(cache=True)
@no_type_check
def run_starts(latency, memory, capacity, period_ms):
    """First segment of the longest run on slot j that ends with k, [K, S]; k + 1 where k cannot be on j.

    `period_ms` bounds the compute time of a run.
    """
    K, S = latency.shape
    first = np.zeros((K, S), np.int64)
    for j in range(S):
        start = 0
        used = busy = 0.0
        for k in range(K):
            if latency[k, j] > period_ms or latency[k, j] == np.inf:
                start, used, busy = k + 1, 0.0, 0.0
                first[k, j] = start
                continue
            used += memory[k]
            busy += latency[k, j]
            while start <= k and (used > capacity[j] + SLACK_MB or busy > period_ms * (1.0 + SLACK)):
                used -= memory[start]
                busy -= latency[start, j]
                start += 1
            first[k, j] = start
    return first


@numba.njit(cache=True)
@no_type_check
def forward(cost, send, slot_weight, hops, first, ends, starts):
    """Fill `ends[k, j]`, the cheapest prefix whose run on j ends with k, and `starts[k, j]`: whose run starts at k."""
    K, S = cost.shape
    running = np.zeros((K + 1, S))
    for k in range(K):
        for j in range(S):
            running[k + 1, j] = running[k, j] + cost[k, j]
        if k == 0:
            for j in range(S):
                starts[0, j] = 0.0
        else:
            for j in range(S):
                starts[k, j] = np.inf
            for i in range(S):
                base = ends[k - 1, i]
                if base == np.inf:
                    continue
                per_hop = slot_weight[i] * send[k - 1]
                for j in range(S):
                    value = base + per_hop * hops[i, j]
                    starts[k, j] = min(starts[k, j], value)
        for j in range(S):
            lowest = np.inf
            for a in range(k, first[k, j] - 1, -1):
                lowest = min(lowest, starts[a, j] - running[a, j])
            ends[k, j] = lowest + running[k + 1, j] if lowest < np.inf else np.inf


@numba.njit(cache=True)
@no_type_check
def trace(cost, send, slot_weight, hops, first, ends, starts, path):
    """Write the cheapest path into `path` and return its cost (infinite if there is none)."""
    K, S = cost.shape
    j = np.argmin(ends[K - 1])
    total = ends[K - 1, j]
    if total == np.inf:
        return total
    k = K - 1
    while True:
        lowest, begin, along = np.inf, k, 0.0
        for a in range(k, first[k, j] - 1, -1):
            along += cost[a, j]
            if starts[a, j] + along < lowest:
                lowest, begin = starts[a, j] + along, a
        for a in range(begin, k + 1):
            path[a] = j
        if begin == 0:
            return total
        lowest, source = np.inf, 0
        for i in range(S):
            value = ends[begin - 1, i] + slot_weight[i] * send[begin - 1] * hops[i, j]
            if value < lowest:
                lowest, source = value, i
        k, j = begin - 1, source


@numba.njit(cache=True, nogil=True)
@no_type_check
def cheapest_path(latency, memory, send, hops, first, price, weight, path):
    """Cheapest path when slot j's time costs weight[j] and its memory price[j]; written to `path`, cost returned."""
    K, S = latency.shape
    cost, ends, starts = np.zeros((K, S)), np.zeros((K, S)), np.zeros((K, S))
    for k in range(K):
        for j in range(S):
            if first[k, j] <= k:  # elsewhere the segment cannot be, and a huge number would spoil the sums
                cost[k, j] = weight[j] * latency[k, j] + price[j] * memory[k]
    forward(cost, send, weight, hops, first, ends, starts)
    return trace(cost, send, weight, hops, first, ends, starts, path)


@numba.njit(cache=True)
@no_type_check
def suffix_costs(cost, send, slot_weight, hops):
    """Plain Viterbi from the end: rest[k, i] = cheapest cost of segments k.. when k - 1 sits on i (send included)."""
    K, S = cost.shape
    rest = np.zeros((K + 1, S))
    for k in range(K - 1, -1, -1):
        for i in range(S):
            lowest = np.inf
            per_hop = slot_weight[i] * send[k - 1] if k > 0 else 0.0
            for j in range(S):
                lowest = min(lowest, per_hop * hops[i, j] + cost[k, j] + rest[k + 1, j])
            rest[k, i] = lowest
    return rest
