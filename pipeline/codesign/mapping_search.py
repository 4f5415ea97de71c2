"""The best mapping of a chain to given chips under L_hw, by annealing (compiled).

The mapping solver knows time alone and proves how good it is; this knows the whole objective (a balance of latency,
energy and memory) and is fast enough to be asked about hundreds of sets of chips. Every move is priced from scratch,
about 60 operations for a chain of 26.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

from .hard_problem import HardCosts, HardProblem, hard_costs, one_hop

MOVES_PER_SQUARE, WALKS = 120, 2
EXCESS_PRICE = 20.0
HOT, COLD = 0.1, 2e-4


@dataclass(frozen=True)
class MappedChips:
    """Chips with their best known mapping: `types` and `mapping` count chips 0..n-1; `value` is L_hw."""

    types: tuple[int, ...]
    mapping: tuple[int, ...]
    value: float
    costs: HardCosts | None

    @property
    def feasible(self) -> bool:
        """Whether a mapping that fits was found."""
        return math.isfinite(self.value)


def best_mapping(
    problem: HardProblem,
    types: Sequence[int],
    hops: Float[np.ndarray, "n n"] | None = None,
    *,
    start: Sequence[int] | None = None,
    moves: int | None = None,
    walks: int = WALKS,
    seed: int = 0,
) -> MappedChips:
    """Anneal `walks` times from contiguous blocks sized by speed (and from `start`); without chips that fit, infinite.

    Memory above capacity is a price inside a walk; only mappings that fit are kept. A walk has `moves` moves, 120 per
    pair of segments unless given.
    """
    moves = MOVES_PER_SQUARE * problem.num_segments**2 if moves is None else moves
    kinds = np.asarray(types, dtype=np.int64)
    hops = one_hop(len(kinds)) if hops is None else np.ascontiguousarray(hops, dtype=float)
    origins = [_blocks(problem, kinds)] + ([] if start is None else [np.asarray(start, dtype=np.int64)])
    best, found = math.inf, np.zeros(problem.num_segments, np.int64)
    for walk in range(max(walks, len(origins))):
        m = origins[walk % len(origins)].copy()
        kept = m.copy()
        value = _anneal(
            m, kept, kinds, problem.latency_ms, problem.dynamic_j, problem.weight_mb, problem.resident_mb,
            problem.traffic_mb, problem.usable_mb[kinds], float(problem.idle_w[kinds].sum()), hops, problem.serial,
            problem.hop_ms, problem.ms_per_mb, problem.pj_per_bit, np.array(problem.weights[:3]),
            problem.logarithmic, np.array(problem.reference), moves, seed * 1_000_003 + walk,
        )  # fmt: skip
        if value < best:
            best, found = value, kept
    if not math.isfinite(best):
        return MappedChips(tuple(int(t) for t in kinds), (), math.inf, None)
    costs = hard_costs(problem, kinds.tolist(), found.tolist(), hops)
    value = problem.value_of(costs.latency_ms, costs.energy_j, costs.peak_mb, len(kinds))
    return MappedChips(tuple(int(t) for t in kinds), tuple(int(j) for j in found), value, costs)


def _blocks(problem: HardProblem, kinds: Int[np.ndarray, " n"]) -> Int[np.ndarray, " K"]:
    """Contiguous blocks, roomiest chips first (early segments are the largest), each as long as the chip is fast."""
    order = np.lexsort((-1.0 / problem.latency_ms.mean(0)[kinds], -problem.usable_mb[kinds]))
    speed = 1.0 / problem.latency_ms.mean(0)[kinds[order]]
    ends = np.cumsum(speed) / speed.sum()
    middle = (np.arange(problem.num_segments) + 0.5) / problem.num_segments
    return order[np.searchsorted(ends, middle)].astype(np.int64)


@numba.njit(cache=True, inline="always")
@no_type_check
def _random(state):
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.float64((x * np.uint64(2685821657736338717)) >> np.uint64(11)) * 1.1102230246251565e-16


@numba.njit(cache=True)
@no_type_check
def _priced(
    m, kinds, latency, dynamic, weight, resident, traffic, usable, idle_w, hops, serial, hop_ms, ms_per_mb, pj,
    lambdas, logarithmic, reference, busy, used, held,
):  # fmt: skip
    """L_hw without the price of chips, the same with pressure on nearly busiest chips, and memory above capacity."""
    busy[:] = 0.0
    used[:] = 0.0
    held[:] = 0.0
    energy = 0.0
    sent = 0.0
    for k in range(m.size):
        j = m[k]
        busy[j] += latency[k, kinds[j]]
        energy += dynamic[k, kinds[j]]
        used[j] += weight[k]
        held[j] = max(held[j], resident[k])
        if k + 1 < m.size:
            links = hops[j, m[k + 1]]
            busy[j] += links * (hop_ms + traffic[k] * ms_per_mb)
            sent += links * traffic[k]
    longest = 0.0
    total = 0.0
    excess = 0.0
    peak = 0.0
    for j in range(busy.size):
        longest = max(longest, busy[j])
        total += busy[j]
        full = used[j] + held[j]
        peak = max(peak, full)
        if full > usable[j] * (1.0 + 1e-9):
            excess += full / usable[j] - 1.0
    time = total if serial else longest
    pressure = 0.0
    if not serial:
        for j in range(busy.size):
            over = busy[j] - 0.9 * longest
            if over > 0.0:
                pressure += over * over
        pressure /= longest * longest
    energy += sent * 8e-6 * pj + idle_w * time / 1e3
    value = 0.0
    if logarithmic:
        value += lambdas[0] * math.log(time / reference[0]) + lambdas[1] * math.log(energy / reference[1])
        if lambdas[2] > 0.0:
            value += lambdas[2] * math.log(peak / reference[2])
    else:
        value += (
            lambdas[0] * time / reference[0] + lambdas[1] * energy / reference[1] + lambdas[2] * peak / reference[2]
        )
    return value, value + (lambdas[0] + lambdas[1]) * pressure, excess


@numba.njit(cache=True, nogil=True)
@no_type_check
def _anneal(
    m, best, kinds, latency, dynamic, weight, resident, traffic, usable, idle_w, hops, serial, hop_ms, ms_per_mb, pj,
    lambdas, logarithmic, reference, moves, seed,
):  # fmt: skip
    """Anneal `m` in place; `best` gets the best mapping that fits, whose value is returned (infinite if none)."""
    K, n = m.size, kinds.size
    state = np.array([seed * 2 + 1], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    busy, used, held = np.zeros(n), np.zeros(n), np.zeros(n)
    old = m.copy()
    value, energy, excess = _priced(
        m, kinds, latency, dynamic, weight, resident, traffic, usable, idle_w, hops, serial, hop_ms, ms_per_mb, pj,
        lambdas, logarithmic, reference, busy, used, held,
    )  # fmt: skip
    best_value = value if excess == 0.0 else np.inf
    best[:] = m
    if n == 1:
        return best_value
    energy += EXCESS_PRICE * excess
    temperature = HOT
    cooling = (COLD / HOT) ** (1.0 / max(1, moves))
    for _ in range(moves):
        temperature *= cooling
        kind = _random(state)
        k = int(_random(state) * K)
        old[:] = m
        if kind < 0.35:
            m[k] = int(_random(state) * n)
        elif kind < 0.6:
            other = int(_random(state) * K)
            m[k], m[other] = m[other], m[k]
        elif kind < 0.8:
            m[k] = m[k - 1] if (k > 0 and _random(state) < 0.5) or k + 1 >= K else m[min(k + 1, K - 1)]
        elif kind < 0.93:
            j = int(_random(state) * n)
            for position in range(k, min(K, k + 2 + int(_random(state) * 4))):
                m[position] = j
        else:
            a, b = m[k], int(_random(state) * n)
            for position in range(K):
                if m[position] == a:
                    m[position] = b
                elif m[position] == b:
                    m[position] = a
        new_value, new_energy, new_excess = _priced(
            m, kinds, latency, dynamic, weight, resident, traffic, usable, idle_w, hops, serial, hop_ms, ms_per_mb, pj,
            lambdas, logarithmic, reference, busy, used, held,
        )  # fmt: skip
        new_energy += EXCESS_PRICE * new_excess
        change = new_energy - energy
        if change > 0.0 and _random(state) >= math.exp(-change / temperature):
            m[:] = old
            continue
        energy = new_energy
        if new_excess == 0.0 and new_value < best_value:
            best_value = new_value
            best[:] = m
    return best_value
