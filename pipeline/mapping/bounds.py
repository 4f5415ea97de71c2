"""Certificates: what no mapping can beat, improved step by step as long as time is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from .branch_bound import search
from .instance import MappingInstance
from .lagrangian import ascend
from .path_dp import run_starts, suffix_costs

# Rounding in long sums must never lift a bound above the optimum.
ROUNDING = 1e-9


@dataclass
class Bound:
    """The state of a bound: its value and the multipliers that gave it.

    Attributes:
        value_ms: the certified lower bound so far.
        price: ms per MB of each slot's capacity.
        weight: share of each slot's time in the priced sum (all 1 for `serial`).
        best_price, best_weight, moment, state: see `lagrangian.ascend`.
        path: the answer of the last sub-problem, a good (if over-full) start for search.
    """

    value_ms: float
    price: Float[np.ndarray, " S"]
    weight: Float[np.ndarray, " S"]
    path: Int[np.ndarray, " K"]
    best_price: Float[np.ndarray, " S"]
    best_weight: Float[np.ndarray, " S"]
    moment: Float[np.ndarray, "2 S"]
    state: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.array([-np.inf, 1.0, 0.0]))


def start_bound(instance: MappingInstance, balanced: bool) -> Bound:
    """Begin with zero prices; `balanced` with the heaviest segment's cheapest slot."""
    K, S = instance.num_segments, instance.num_slots
    weight = np.full(S, 1.0 / S) if balanced else np.ones(S)
    cheapest = _allowed(instance).min(1)
    value = cheapest.max() if balanced else cheapest.sum()
    price = np.zeros(S)
    path = np.zeros(K, np.int64)
    return Bound(float(value) * (1 - ROUNDING), price, weight, path, price.copy(), weight.copy(), np.zeros((2, S)))


def _allowed(instance: MappingInstance) -> Float[np.ndarray, "K S"]:
    """Latencies, infinite where the slot alone is too small."""
    return np.where(instance.memory_mb[:, None] <= instance.capacity_mb + 1e-6, instance.latency_ms, np.inf)


def improve_bound(
    instance: MappingInstance, balanced: bool, bound: Bound, incumbent_ms: float, period_ms: float, steps: int
) -> None:
    """Take subgradient steps over paths whose runs stay within `period_ms`, towards `incumbent_ms`; update `bound`.

    The new bound is min(period_ms, dual value): a mapping outside those paths is not better than `period_ms`.
    """
    latency = finite(instance.latency_ms)
    first = run_starts(instance.latency_ms, instance.memory_mb, instance.capacity_mb, period_ms)
    value = ascend(
        latency,
        instance.memory_mb,
        instance.capacity_mb,
        instance.send_ms_per_hop,
        instance.hops,
        first,
        balanced,
        bound.price,
        bound.weight,
        bound.best_price,
        bound.best_weight,
        bound.path,
        bound.moment,
        bound.state,
        incumbent_ms,
        steps,
    )
    bound.value_ms = max(bound.value_ms, min(period_ms, float(value)) * (1 - ROUNDING))


def raise_period(
    instance: MappingInstance, bound: Bound, incumbent_ms: float, steps: int, go_on: Callable[[], bool]
) -> None:
    """Bisect the period while `go_on()`: one that even the relaxed paths cannot keep bounds `balanced` from below."""
    low, high = bound.value_ms, incumbent_ms
    while go_on() and high - low > 1e-4 * high:
        period_ms = 0.5 * (low + high)
        trial = start_bound(instance, balanced=True)
        trial.price[:], trial.weight[:] = bound.best_price, bound.best_weight
        improve_bound(instance, True, trial, 1.02 * period_ms, period_ms, steps)
        if trial.value_ms >= period_ms * (1 - 2 * ROUNDING):
            low = period_ms * (1 - ROUNDING)
            bound.value_ms = max(bound.value_ms, low)
            bound.best_price[:], bound.best_weight[:] = trial.best_price, trial.best_weight
        else:
            high = period_ms


def finite(latency_ms: Float[np.ndarray, "K S"]) -> Float[np.ndarray, "K S"]:
    """Infinite latencies replaced by a number; the places are excluded elsewhere, and inf - inf would be NaN."""
    return np.where(np.isfinite(latency_ms), latency_ms, 1e12)


def prove(
    instance: MappingInstance,
    balanced: bool,
    bound: Bound,
    incumbent: Int[np.ndarray, " K"],
    incumbent_ms: float,
    share: float,
    nodes: int,
) -> tuple[float, int]:
    """Search the tree for a mapping below bound + `share` of the gap; raise the bound if the search ends.

    Without an incumbent (infinite value) it looks for any mapping that fits, and the bound becomes infinite if there is
    none. `incumbent` is overwritten if a better mapping turns up. Returns its value and the nodes left (negative: they
    ran out).
    """
    latency = finite(instance.latency_ms)
    price, weight, send = bound.best_price, bound.best_weight, instance.send_ms_per_hop
    capacity = np.minimum(instance.capacity_mb, instance.memory_mb.sum())
    cost = weight * latency + price * instance.memory_mb[:, None]
    limit = (
        incumbent_ms
        if share >= 1.0 or not np.isfinite(incumbent_ms)
        else bound.value_ms + share * (incumbent_ms - bound.value_ms)
    )
    first = run_starts(instance.latency_ms, instance.memory_mb, capacity, limit if balanced else np.inf)
    rest = suffix_costs(np.where(first <= np.arange(len(first))[:, None], cost, np.inf), send, weight, instance.hops)
    value, left = search(
        latency, instance.memory_mb, capacity, send, instance.hops, balanced, price, weight, rest, first, limit,
        incumbent, nodes,
    )  # fmt: skip
    if left >= 0:
        bound.value_ms = max(bound.value_ms, value * (1 - 2 * ROUNDING))
    return min(incumbent_ms, value) if value < limit else incumbent_ms, left
