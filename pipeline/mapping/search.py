"""The state of an anytime search and its three kinds of work: annealing, bounding, proving."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from .anneal import anneal
from .bounds import Bound, finite, improve_bound, prove, raise_period, start_bound
from .greedy import best_fit, greedy
from .instance import MappingInstance
from .local_search import descend
from .objective import Objective, evaluate
from .solution import Solution

Clock = Callable[[], float]

# A tree node costs about as much as an annealing move; a cautious rate keeps the last search within the limit.
NODES_PER_MOVE = 1.0
MOVES_PER_S = 7.5e6


@dataclass
class Budget:
    """Solver seconds, or a number of annealing moves (then the result does not depend on the machine).

    Other work is counted in moves of about equal cost, so that a budget of moves bounds it too.
    """

    seconds: float | None
    iterations: int | None
    clock: Clock
    start: float = 0.0
    spent: float = 0.0

    def used(self) -> float:
        """Share of the budget that is gone."""
        if self.iterations is not None:
            return self.spent / self.iterations
        return (self.clock() - self.start) / max(self.seconds or 0.0, 1e-9)

    def nodes_until(self, share: float) -> int:
        """Tree nodes that fit into what is left of the budget up to `share` of it, roughly."""
        left = max(0.0, share - self.used())
        moves = left * self.iterations if self.iterations is not None else left * (self.seconds or 0.0) * MOVES_PER_S
        return max(5000, int(moves * NODES_PER_MOVE))

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.start


@dataclass
class Search:
    """The best mapping and the bound so far, and how they came about."""

    instance: MappingInstance
    balanced: bool
    budget: Budget
    seed: int
    best: Int[np.ndarray, " K"]
    bound: Bound
    best_ms: float = math.inf
    rounds: int = 0
    moves_per_s: float = 1e6
    incumbent: list[tuple[float, float]] = field(default_factory=list)
    bounds: list[tuple[float, float]] = field(default_factory=list)

    def offer(self, mapping: Int[np.ndarray, " K"]) -> None:
        """Keep a mapping if it fits and is better."""
        objective: Objective = "balanced" if self.balanced else "serial"
        value_ms = evaluate(self.instance, mapping, objective)
        if value_ms < self.best_ms:
            self.best_ms = value_ms
            self.best = mapping.copy()
            self.incumbent.append((self.budget.elapsed_s(), value_ms))

    def note_bound(self) -> None:
        """Record the bound if it rose."""
        if not self.bounds or self.bound.value_ms > self.bounds[-1][1]:
            self.bounds.append((self.budget.elapsed_s(), self.bound.value_ms))

    def moves_until(self, share: float) -> float:
        """Annealing moves that fit into what is left of the budget up to `share` of it, roughly."""
        left = max(0.0, share - self.budget.used())
        return left * (self.budget.iterations or (self.budget.seconds or 0.0) * self.moves_per_s)

    def done(self) -> bool:
        """Whether the best mapping is proved optimal but for rounding, or none proved to exist."""
        return self.bound.value_ms >= self.best_ms * (1 - 1e-8)


def begin_search(
    instance: MappingInstance,
    objective: Objective,
    seconds: float | None,
    iterations: int | None,
    seed: int,
    clock: Clock,
) -> Search:
    """Start the clock on an empty search."""
    balanced = objective == "balanced"
    budget = Budget(None if iterations is not None else seconds, iterations, clock, clock())
    nowhere = np.zeros(instance.num_segments, np.int64)
    return Search(instance, balanced, budget, seed, nowhere, start_bound(instance, balanced))


def warm_up() -> float:
    """Compile the kernels or load them from the disk cache; return the seconds it took."""
    begin = time.perf_counter()
    tiny = MappingInstance(
        "", np.ones((2, 2)), np.ones(2), np.full(2, 2.0), np.ones(1), 1.0 - np.eye(2), 0.1, 0.1, np.ones(2), 1.0
    )
    mapping = np.zeros(2, np.int64)
    descend(tiny, mapping, True)
    search = Search(tiny, True, Budget(None, 10, time.perf_counter), 0, mapping, start_bound(tiny, True))
    anneal_stretch(search, mapping, 1.0, 1.0, 1.0, 1.0, 1)
    improve_bound(tiny, True, search.bound, 1.0, 2.0, 1)
    prove(tiny, True, search.bound, mapping, 2.0, 1.0, 10)
    return time.perf_counter() - begin


def first_mappings(
    search: Search, objective: Objective, warm_start: Int[np.ndarray, " K"] | None
) -> Int[np.ndarray, " K"]:
    """Offer the cheap mappings and return where annealing starts."""
    if warm_start is not None:
        search.offer(warm_start)
        return warm_start.astype(np.int64)
    start = greedy(search.instance, objective)
    if start is None:
        start = best_fit(search.instance)
    search.offer(start)
    if not math.isfinite(search.best_ms):
        return start
    # One sweep costs K S (serial) or K S^2 (balanced) steps; descent is only worth it where that is cheap.
    start = descend(search.instance, start, search.balanced, max_sweeps=3)
    search.offer(start)
    return start


def random_mapping(search: Search) -> Int[np.ndarray, " K"]:
    """Each segment on a random slot that could hold it alone."""
    rng = np.random.default_rng([search.seed, search.rounds])
    instance = search.instance
    fits = (instance.memory_mb[:, None] <= instance.capacity_mb) & np.isfinite(instance.latency_ms)
    return (fits * rng.random(fits.shape)).argmax(1)


def origin_of(search: Search, origin: str, start: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    if origin == "random":
        return random_mapping(search)
    if origin == "best" and math.isfinite(search.best_ms):
        return search.best
    return search.bound.path if origin == "path" else start


def anneal_stretch(
    search: Search, m: Int[np.ndarray, " K"], hot: float, cold: float, weight: float, growth: float, moves: int
) -> None:
    """One stretch of annealing, in place; `hot` and `cold` in ms, `weight` in ms per MB."""
    instance = search.instance
    found = search.best.copy()
    search.rounds += 1
    value_ms = anneal(
        m, found, search.best_ms, finite(instance.latency_ms), instance.memory_mb, instance.capacity_mb,
        instance.send_ms_per_hop, instance.hops, np.argsort(instance.hops, axis=1, kind="stable"), search.balanced,
        0.9, hot, cold, weight, growth, moves, (search.seed * 1_000_003 + search.rounds) % 2**32,
    )  # fmt: skip
    search.budget.spent += moves
    if value_ms < search.best_ms:
        search.offer(found)


def anneal_until(search: Search, end: float, start: Int[np.ndarray, " K"], hot: float, weight: float) -> None:
    """Anneal from `start` in short stretches; the temperature follows the share of the budget used, up to `end`.

    `hot` is in mean latencies, cooling a hundredfold; `weight` prices memory above capacity, in mean latency per mean
    segment, and grows tenfold on the way.
    """
    instance = search.instance
    begin = search.budget.used()
    if begin >= end or search.done():
        return
    possible = np.isfinite(instance.latency_ms)
    unit_ms = max(float(instance.latency_ms[possible].mean()), 1e-12)
    per_mb = unit_ms / max(float(instance.memory_mb.mean()), 1e-12)
    m = start.astype(np.int64)
    progress = 0.0
    while progress < 1.0:
        moves = max(1000, int(0.02 * search.moves_per_s))
        if search.budget.iterations is not None:
            left = (end - search.budget.used()) * search.budget.iterations
            moves = max(1, min(20_000, math.ceil(left)))
            following = progress + (1.0 - progress) * moves / max(left, moves)
        else:
            share = moves / search.moves_per_s / max(search.budget.seconds or 0.0, 1e-9)
            following = min(1.0, progress + share / (end - begin))
        before_s = search.budget.clock()
        anneal_stretch(
            search,
            m,
            hot * unit_ms * 100.0**-progress,
            hot * unit_ms * 100.0**-following,
            weight * per_mb * 10.0**progress,
            10.0 ** (following - progress),
            moves,
        )
        search.moves_per_s = moves / max(search.budget.clock() - before_s, 1e-6)
        progress = min(1.0, max(0.0, (search.budget.used() - begin) / (end - begin)))


def bound_until(search: Search, end: float) -> None:
    """Subgradient steps until `end`, or until they gain no more."""
    instance, bound = search.instance, search.bound
    steps_cost = instance.num_segments * instance.num_slots * (instance.num_slots + 4) / 80.0
    target_ms = search.best_ms if math.isfinite(search.best_ms) else 2.0 * max(bound.value_ms, 1e-9)
    period_ms = search.best_ms if search.balanced else math.inf
    stalled = 0
    while search.budget.used() < end and not search.done() and stalled < 25:
        before = max(bound.state[0], bound.value_ms)
        steps = 20 if steps_cost < 1e5 else 2
        improve_bound(instance, search.balanced, bound, target_ms, period_ms, steps)
        search.budget.spent += steps * steps_cost
        stalled = 0 if max(bound.state[0], bound.value_ms) > before + 1e-5 * target_ms else stalled + 1
        search.note_bound()
    if search.balanced and math.isfinite(search.best_ms):
        steps = 100 if steps_cost < 1e5 else 20

        def go_on() -> bool:
            search.budget.spent += steps * steps_cost
            return search.budget.used() < end

        raise_period(instance, bound, search.best_ms, steps, go_on)
    search.note_bound()


def prove_until(search: Search, end: float) -> None:
    """Tree search under rising limits; a limit that proves too hard is halved, then given more nodes.

    One small search is made in any case: on a starved machine a tiny instance is still proved.
    """
    share, nodes, tried = 1.0, 20_000, False
    while (not tried or search.budget.used() < end) and not search.done():
        tried = True
        found = search.best.copy()
        allowed = min(nodes, search.budget.nodes_until(end))
        value_ms, left = prove(search.instance, search.balanced, search.bound, found, search.best_ms, share, allowed)
        search.budget.spent += (allowed - max(left, 0)) / NODES_PER_MOVE
        if value_ms < search.best_ms:
            search.offer(found)
        search.note_bound()
        if left >= 0:
            share = min(1.0, 2.0 * share)
        else:
            share *= 0.5
            if share < 0.05:
                share, nodes = 0.4, 4 * nodes


def solution_of(search: Search, strategy: str, startup_s: float) -> Solution:
    feasible = math.isfinite(search.best_ms)
    reason = "" if feasible else "no mapping that fits the capacities was found in the time given (none may exist)"
    if not feasible and math.isinf(search.bound.value_ms):
        reason = "no mapping can fit the capacities (proved)"
    return Solution(
        "balanced" if search.balanced else "serial",
        strategy,
        search.best if feasible else None,
        search.best_ms,
        min(search.bound.value_ms, search.best_ms),
        seconds=search.budget.elapsed_s(),
        seconds_startup=startup_s,
        incumbent=search.incumbent,
        bound=search.bounds,
        reason=reason,
    )
