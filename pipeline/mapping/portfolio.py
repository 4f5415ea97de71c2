"""The default strategy: annealing for the mapping, duality and tree search for the certificate, in turns, anytime."""

from __future__ import annotations

import math
import time

import numpy as np
from jaxtyping import Int

from .instance import MappingInstance, infeasible_reason
from .objective import Objective
from .search import (
    Clock,
    Search,
    anneal_until,
    begin_search,
    bound_until,
    first_mappings,
    origin_of,
    prove_until,
    solution_of,
    warm_up,
)
from .solution import Solution

# Share of the budget at which annealing ends: early where the tree has nearly closed the gap already.
ANNEALED_UNTIL, ANNEALED_UNTIL_IF_CLOSE = 0.94, 0.5
CLOSE = 0.02
# Long chains are out of the tree's reach unless the gap is small already.
SHORT_CHAIN = 32
# Walks end in different valleys: as many as can have enough moves, then longer ones.
MOST_WALKS = 8
ORIGINS = ("start", "random", "path", "random")
# Start temperature in mean latencies, and the price of excess memory: below 10, or much cooler, a walk may end among
# mappings that do not fit.
HOT_SERIAL, HOT_BALANCED, PRICE = 0.3, 0.15, 10.0


def enough_moves(search: Search) -> float:
    """Moves of a walk long enough: runs settle by diffusing along the chain, hence its length squared (measured).

    The period needs every slot tried, the sum of times mostly the near ones.
    """
    K, S = search.instance.latency_ms.shape
    return 32.0 * K**2 * S if search.balanced else 128.0 * K**2 * math.sqrt(S)


def anneal_walks(search: Search, end: float, start: Int[np.ndarray, " K"]) -> None:
    """Independent walks from different origins, then a cooler one from the best, a quarter as long."""
    hot = HOT_BALANCED if search.balanced else HOT_SERIAL
    walks = min(MOST_WALKS, max(1, int(search.moves_until(end) / enough_moves(search))))
    for number in range(walks):
        begin = search.budget.used()
        share = max(0.0, end - begin) / (walks - number + 0.25)
        origin = origin_of(search, ORIGINS[number % len(ORIGINS)], start)
        anneal_until(search, begin + share, origin, hot, PRICE)
    anneal_until(search, end, origin_of(search, "best", start), hot / 3, 3 * PRICE)


def solve_portfolio(
    instance: MappingInstance,
    objective: Objective,
    *,
    seconds: float | None = 5.0,
    iterations: int | None = None,
    seed: int = 0,
    warm_start: Int[np.ndarray, " K"] | None = None,
    clock: Clock = time.perf_counter,
) -> Solution:
    """Solve within `seconds`, or within `iterations` moves (reproducible on any machine).

    Returns early once the optimum is proved. `warm_start` is a mapping to improve on; it need not fit.
    """
    startup_s = warm_up()
    reason = infeasible_reason(instance)
    if reason is not None:
        return Solution(objective, "portfolio", None, math.inf, math.inf, seconds_startup=startup_s, reason=reason)
    search = begin_search(instance, objective, seconds, iterations, seed, clock)
    start = first_mappings(search, objective, warm_start)
    anneal_until(search, 0.05, start, 0.1, PRICE)
    if not math.isfinite(search.best_ms):  # what fits comes first: memory weighs far more than time
        prove_until(search, 0.1)
        anneal_until(search, 0.16, start, 0.1, 10 * PRICE)
    bound_until(search, 0.15)
    close = search.best_ms <= (1 + CLOSE) * search.bound.value_ms
    if close or instance.num_segments <= SHORT_CHAIN:
        prove_until(search, 0.2)
        close = search.best_ms <= (1 + CLOSE) * search.bound.value_ms
    annealed_until = ANNEALED_UNTIL_IF_CLOSE if close else ANNEALED_UNTIL
    anneal_walks(search, annealed_until, start)
    bound_until(search, annealed_until + 0.03)
    prove_until(search, 1.0)
    return solution_of(search, "portfolio", startup_s)
