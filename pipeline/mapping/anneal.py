"""Simulated annealing over mappings, compiled (numba): every move is a sequence of single reassignments.

A reassignment changes the time of at most three slots (old, new, and the predecessor's sender), so a move is tried in
place in O(1) and taken back from a log. Capacity is a penalty inside the walk; only mappings that fit are ever kept.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numba
import numpy as np

CAPACITY_TOLERANCE_MB = 1e-6
LONGEST_RUN = 16


@numba.njit(cache=True, inline="always")
@no_type_check
def _random(state):
    """Uniform in [0, 1): xorshift64* (Vigna 2016), a fifth of the time of NumPy's generator."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.float64((x * np.uint64(2685821657736338717)) >> np.uint64(11)) * 1.1102230246251565e-16


@numba.njit(cache=True, inline="always")
@no_type_check
def _below(state, n):
    return int(_random(state) * n)


@numba.njit(cache=True, inline="always")
@no_type_check
def _excess(value, limit):
    return value - limit if value > limit else 0.0


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _period_energy(busy, target):
    """The period, and with it a pressure on every slot above the target, squared over the target."""
    peak = busy[0]
    pressure = 0.0
    for j in range(busy.size):
        peak = max(peak, busy[j])
        over = max(busy[j] - target, 0.0)
        pressure += over * over
    return peak, peak + pressure / target


@numba.njit(cache=True)
@no_type_check
def _load(m, busy, used, latency, memory, send, hops):
    """Fill time and memory per slot from scratch."""
    busy[:] = 0.0
    used[:] = 0.0
    for k in range(m.size):
        busy[m[k]] += latency[k, m[k]]
        used[m[k]] += memory[k]
        if k + 1 < m.size:
            busy[m[k]] += send[k] * hops[m[k], m[k + 1]]


@numba.njit(cache=True)
@no_type_check
def _near_slot(state, k, m, order, S):
    """A slot for segment k: often that of a chain neighbour or one close to it, else any."""
    choice = _random(state)
    if choice < 0.3:
        return _below(state, S)
    other = k - 1 if (choice < 0.65 and k > 0) or k + 1 >= m.size else k + 1
    if other < 0:
        return _below(state, S)
    depth = _below(state, 1 + min(S - 1, 5)) if choice < 0.8 or choice > 0.95 else 0
    return order[m[other], depth]


@numba.njit(cache=True)
@no_type_check
def _run_of(k, m):
    """First and last segment of the run (successive segments on one slot) around segment k."""
    a, b = k, k
    while a > 0 and m[a - 1] == m[k] and k - a < LONGEST_RUN:
        a -= 1
    while b + 1 < m.size and m[b + 1] == m[k] and b - k < LONGEST_RUN:
        b += 1
    return a, b


@numba.njit(cache=True)
@no_type_check
def _propose(state, m, order, S, seg, dst):
    """Write a move (segments and their new slots) into `seg`, `dst`; return how many."""
    K = m.size
    kind = _random(state)
    k = _below(state, K)
    if kind < 0.55:  # shift one segment
        seg[0], dst[0] = k, _near_slot(state, k, m, order, S)
        return 1 if dst[0] != m[k] else 0
    if kind < 0.9:  # exchange the slots of two segments
        other = _below(state, K)
        seg[0], dst[0] = k, m[other]
        seg[1], dst[1] = other, m[k]
        return 2 if m[other] != m[k] else 0
    if kind < 0.95:  # move a block of the chain
        j = _near_slot(state, k, m, order, S)
        count = 0
        for position in range(k, min(K, k + 2 + _below(state, 5))):
            if m[position] != j:
                seg[count], dst[count] = position, j
                count += 1
        return count
    if kind < 0.98:  # exchange a run of one slot with another run
        other = _below(state, K)
        u, v = m[k], m[other]
        if u == v:
            return 0
        a, b = _run_of(k, m)
        c, d = _run_of(other, m)
        count = 0
        for position in range(a, b + 1):
            seg[count], dst[count] = position, v
            count += 1
        for position in range(c, d + 1):
            seg[count], dst[count] = position, u
            count += 1
        return count
    if kind < 0.998:  # rotate three segments
        other, third = _below(state, K), min(K - 1, k + 1 + _below(state, 4))
        seg[0], dst[0] = k, m[other]
        seg[1], dst[1] = other, m[third]
        seg[2], dst[2] = third, m[k]
        return 3 if k != other and other != third and k != third else 0
    u = m[k]
    v = order[u, 1 + _below(state, S - 1)] if S > 1 else u
    if u == v:
        return 0
    count = 0  # exchange two slots' contents
    for position in range(K):
        if m[position] == u:
            seg[count], dst[count] = position, v
            count += 1
        elif m[position] == v:
            seg[count], dst[count] = position, u
            count += 1
    return count


@numba.njit(cache=True, inline="always")
@no_type_check
def _try(count, seg, dst, old, m, busy, used, latency, memory, capacity, send, hops, balanced, log_slot, log_ms):
    """Make the move in place; return the change of all slots' time, of the excess memory, and the entries logged.

    The time of each slot matters under `balanced` only.
    """
    K = m.size
    logged, time_change, excess_change = 0, 0.0, 0.0
    for n in range(count):
        k, j = seg[n], dst[n]
        i = m[k]
        old[n] = i
        if i == j:
            continue
        leaves, arrives = latency[k, i], latency[k, j]
        if k + 1 < K:
            after = m[k + 1]
            leaves += send[k] * hops[i, after]
            arrives += send[k] * hops[j, after]
        time_change += arrives - leaves
        if balanced:
            busy[i] -= leaves
            busy[j] += arrives
            log_slot[logged], log_ms[logged] = i, -leaves
            log_slot[logged + 1], log_ms[logged + 1] = j, arrives
            logged += 2
        if k > 0:
            before = m[k - 1]
            sent = send[k - 1] * (hops[before, j] - hops[before, i])
            time_change += sent
            if balanced:
                busy[before] += sent
                log_slot[logged], log_ms[logged] = before, sent
                logged += 1
        size = memory[k]
        excess_change += _excess(used[j] + size, capacity[j]) - _excess(used[j], capacity[j])
        excess_change += _excess(used[i] - size, capacity[i]) - _excess(used[i], capacity[i])
        used[j] += size
        used[i] -= size
        m[k] = j
    return time_change, excess_change, logged


@numba.njit(cache=True, inline="always")
@no_type_check
def _take_back(count, seg, old, m, busy, used, memory, logged, log_slot, log_ms):
    for n in range(count - 1, -1, -1):
        k = seg[n]
        used[m[k]] -= memory[k]
        used[old[n]] += memory[k]
        m[k] = old[n]
    for n in range(logged):
        busy[log_slot[n]] -= log_ms[n]


@numba.njit(cache=True)
@no_type_check
def _total_excess(used, capacity):
    total = 0.0
    for j in range(used.size):
        total += _excess(used[j], capacity[j])
    return total


@numba.njit(cache=True, nogil=True)
@no_type_check
def anneal(
    m,
    best,
    best_value,
    latency,
    memory,
    capacity,
    send,
    hops,
    order,
    balanced,
    target_share,
    hot,
    cold,
    weight,
    growth,
    moves,
    seed,
):
    """Anneal `m` in place over `moves` proposals, temperature falling from `hot` to `cold` (ms).

    A MB above capacity costs `weight` ms, growing by the factor `growth` in all.

    `best` is overwritten by the best mapping that fits; its value is returned (`best_value` if none was found).
    Under `balanced` the energy is the period plus a pressure on every slot above `target_share` of the best value
    known: the period alone does not see the second busiest slot, pressure alone sees the busiest too little.
    """
    K, S = latency.shape
    state = np.array([seed * 2 + 1], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    busy, used = np.zeros(S), np.zeros(S)
    seg, dst, old = np.zeros(K + 40, np.int64), np.zeros(K + 40, np.int64), np.zeros(K + 40, np.int64)
    log_slot, log_ms = np.zeros(3 * K + 120, np.int64), np.zeros(3 * K + 120)
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    temperature = hot
    refresh = 4096
    growing = growth ** (refresh / max(1, moves))
    target = value = energy = excess = 0.0
    stale = True
    for step in range(moves):
        temperature *= cooling
        if step % refresh == refresh - 1:
            weight *= growing
            stale = True
        if stale:  # sums from scratch: rounding adds up, and the target follows the best value
            stale = False
            _load(m, busy, used, latency, memory, send, hops)
            excess = _total_excess(used, capacity)
            value = energy = busy.sum()
            if balanced:
                target = target_share * min(best_value, busy.max())
                value, energy = _period_energy(busy, target)
        count = _propose(state, m, order, S, seg, dst)
        if count == 0:
            continue
        time_change, excess_change, logged = _try(
            count, seg, dst, old, m, busy, used, latency, memory, capacity, send, hops, balanced, log_slot, log_ms
        )
        new_value = new_energy = value + time_change
        if balanced:
            new_value, new_energy = _period_energy(busy, target)
        change = new_energy - energy + weight * excess_change
        if change > 0.0 and _random(state) >= math.exp(-change / temperature):
            _take_back(count, seg, old, m, busy, used, memory, logged, log_slot, log_ms)
            continue
        value, energy = new_value, new_energy
        excess += excess_change
        if value >= best_value - 1e-12 or excess > 1e-3:
            continue
        stale = True
        _load(m, busy, used, latency, memory, send, hops)
        found = busy.max() if balanced else busy.sum()
        if found < best_value and (used <= capacity + CAPACITY_TOLERANCE_MB).all():
            best_value = found
            best[:] = m
    return best_value
