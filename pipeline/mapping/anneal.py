"""Simulated annealing over mappings, compiled (numba): every move is a sequence of single reassignments.

A reassignment changes the time of at most three slots (old, new, and the predecessor's sender), so the energy is
updated in O(1). Capacity is a penalty inside the walk; only mappings that fit are ever kept.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numba
import numpy as np

CAPACITY_TOLERANCE_MB = 1e-6


@numba.njit(cache=True, inline="always")
@no_type_check
def _excess(value, limit):
    return value - limit if value > limit else 0.0


@numba.njit(cache=True)
@no_type_check
def _pressure(busy, target):
    """Energy of one slot under `balanced`: how far its time is above the target, squared over the target."""
    over = busy - target
    return over * over / target if over > 0.0 else 0.0


@numba.njit(cache=True)
@no_type_check
def _reassign(k, j, m, busy, used, latency, memory, capacity, send, hops, balanced, target, weight):
    """Move segment k to slot j and return the change of energy."""
    i = m[k]
    if i == j:
        return 0.0
    out_i = out_j = 0.0
    if k + 1 < m.size:
        after = m[k + 1]
        out_i, out_j = send[k] * hops[i, after], send[k] * hops[j, after]
    before = -1
    in_change = 0.0
    if k > 0:
        before = m[k - 1]
        in_change = send[k - 1] * (hops[before, j] - hops[before, i])
    change = weight * (_excess(used[j] + memory[k], capacity[j]) - _excess(used[j], capacity[j]))
    change += weight * (_excess(used[i] - memory[k], capacity[i]) - _excess(used[i], capacity[i]))
    used[j] += memory[k]
    used[i] -= memory[k]
    m[k] = j
    if not balanced:
        busy[i] -= latency[k, i] + out_i
        busy[j] += latency[k, j] + out_j
        if before >= 0:
            busy[before] += in_change
        return change + latency[k, j] + out_j - latency[k, i] - out_i + in_change
    change -= _pressure(busy[i], target)
    busy[i] -= latency[k, i] + out_i
    change += _pressure(busy[i], target) - _pressure(busy[j], target)
    busy[j] += latency[k, j] + out_j
    change += _pressure(busy[j], target)
    if before >= 0 and in_change != 0.0:
        change -= _pressure(busy[before], target)
        busy[before] += in_change
        change += _pressure(busy[before], target)
    return change


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
def _energy(busy, used, capacity, balanced, target, weight):
    total = 0.0
    for j in range(busy.size):
        total += _pressure(busy[j], target) if balanced else busy[j]
        total += weight * _excess(used[j], capacity[j])
    return total


@numba.njit(cache=True)
@no_type_check
def _near_slot(k, m, order, S):
    """A slot for segment k: often that of a chain neighbour or one close to it, else any."""
    choice = np.random.random()
    if choice < 0.3:
        return np.random.randint(S)
    other = k - 1 if (choice < 0.65 and k > 0) or k + 1 >= m.size else k + 1
    if other < 0:
        return np.random.randint(S)
    depth = np.random.randint(1 + min(S - 1, 5)) if choice < 0.8 or choice > 0.95 else 0
    return order[m[other], depth]


@numba.njit(cache=True)
@no_type_check
def _propose(m, order, S, seg, dst):
    """Write a move (segments and their new slots) into `seg`, `dst`; return how many."""
    K = m.size
    kind = np.random.random()
    k = np.random.randint(K)
    if kind < 0.40:  # shift one segment
        seg[0], dst[0] = k, _near_slot(k, m, order, S)
        return 1
    if kind < 0.65:  # exchange the slots of two segments
        other = np.random.randint(K)
        seg[0], dst[0] = k, m[other]
        seg[1], dst[1] = other, m[k]
        return 2
    if kind < 0.80:  # move a block of the chain
        length = 2 + np.random.randint(5)
        j = _near_slot(k, m, order, S)
        count = 0
        for position in range(k, min(K, k + length)):
            seg[count], dst[count] = position, j
            count += 1
        return count
    if kind < 0.90:  # exchange a run of one slot with another run
        a, b, other = k, k, np.random.randint(K)
        while a > 0 and m[a - 1] == m[k] and k - a < 16:
            a -= 1
        while b + 1 < K and m[b + 1] == m[k] and b - k < 16:
            b += 1
        c, d = other, other
        while c > 0 and m[c - 1] == m[other] and other - c < 16:
            c -= 1
        while d + 1 < K and m[d + 1] == m[other] and d - other < 16:
            d += 1
        u, v = m[k], m[other]
        count = 0
        for position in range(a, b + 1):
            seg[count], dst[count] = position, v
            count += 1
        for position in range(c, d + 1):
            seg[count], dst[count] = position, u
            count += 1
        return count if u != v else 0
    if kind < 0.97:  # rotate three segments
        other, third = np.random.randint(K), min(K - 1, k + 1 + np.random.randint(4))
        seg[0], dst[0] = k, m[other]
        seg[1], dst[1] = other, m[third]
        seg[2], dst[2] = third, m[k]
        return 3 if k != other and other != third and k != third else 0
    u, v = m[k], order[m[k], 1 + np.random.randint(S - 1)] if S > 1 else m[k]  # exchange two slots' contents
    count = 0
    for position in range(K):
        if m[position] == u:
            seg[count], dst[count] = position, v
            count += 1
        elif m[position] == v:
            seg[count], dst[count] = position, u
            count += 1
    return count if u != v else 0


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
    Under `balanced` the energy is the squared excess over `target_share` of the best value known.
    """
    np.random.seed(seed)
    K, S = latency.shape
    busy, used = np.zeros(S), np.zeros(S)
    seg, dst, old = np.zeros(K + 40, np.int64), np.zeros(K + 40, np.int64), np.zeros(K + 40, np.int64)
    _load(m, busy, used, latency, memory, send, hops)
    target = target_share * min(best_value, busy.max())
    energy = _energy(busy, used, capacity, balanced, target, weight)
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    temperature = hot
    refresh = 4096
    growing = growth ** (refresh / max(1, moves))
    for step in range(moves):
        temperature *= cooling
        if step % refresh == refresh - 1:
            weight *= growing
            _load(m, busy, used, latency, memory, send, hops)
            energy = _energy(busy, used, capacity, balanced, target, weight)
        count = _propose(m, order, S, seg, dst)
        if count == 0:
            continue
        change = 0.0
        for n in range(count):
            old[n] = m[seg[n]]
            change += _reassign(
                seg[n], dst[n], m, busy, used, latency, memory, capacity, send, hops, balanced, target, weight
            )
        if change > 0.0 and np.random.random() >= math.exp(-change / temperature):
            for n in range(count - 1, -1, -1):
                _reassign(
                    seg[n], old[n], m, busy, used, latency, memory, capacity, send, hops, balanced, target, weight
                )
            continue
        energy += change
        if balanced:
            if change == 0.0 or busy.max() >= best_value - 1e-12:
                continue
        elif energy >= best_value - 1e-12:
            continue
        fits = True
        for j in range(S):
            if used[j] > capacity[j] + CAPACITY_TOLERANCE_MB:
                fits = False
                break
        if not fits:
            continue
        _load(m, busy, used, latency, memory, send, hops)
        value = busy.max() if balanced else busy.sum()
        if value < best_value:
            best_value = value
            best[:] = m
        if balanced:
            target = target_share * min(best_value, value)
        energy = _energy(busy, used, capacity, balanced, target, weight)
    return best_value
