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
ANNEALED_UNTIL, ANNEALED_UNTIL_IF_CLOSE = 0.86, 0.5
CLOSE = 0.02
# Length of a round against the others, hot in mean latencies, price of excess memory, start.
SERIAL_ROUNDS = [(0.16, 0.1, 3.0, "greedy"), (0.22, 0.3, 1.0, "path"), (0.28, 0.1, 3.0, "random")]
BALANCED_ROUNDS = [(0.16, 0.1, 1.0, "random"), (0.22, 0.03, 1.0, "best"), (0.28, 0.1, 1.0, "path")]
# Short chains settle soon: many starts find the optimum more often than a few long walks.
SHORT_CHAIN = 32
SHORT_ROUNDS = [
    (1.0, hot, weight, origin)
    for hot, weight, origin in (
        (0.1, 1.0, "path"), (0.1, 10.0, "random"), (0.2, 1.0, "random"), (0.1, 10.0, "path"), (0.4, 3.0, "random"),
        (0.05, 10.0, "path"), (0.1, 1.0, "path"), (0.4, 1.0, "path"),
    )
]  # fmt: skip


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
    balanced = objective == "balanced"
    search = begin_search(instance, objective, seconds, iterations, seed, clock)
    budget = search.budget
    start = first_mappings(search, objective, warm_start)
    anneal_until(search, 0.06, start, 0.1, 3.0)
    if not math.isfinite(search.best_ms):  # what fits comes first: memory weighs far more than time
        prove_until(search, 0.1)
        anneal_until(search, 0.16, start, 0.1, 100.0)
    bound_until(search, 0.16)
    prove_until(search, 0.2)
    rounds = BALANCED_ROUNDS if balanced else SHORT_ROUNDS if instance.num_segments <= SHORT_CHAIN else SERIAL_ROUNDS
    close = search.best_ms <= (1 + CLOSE) * search.bound.value_ms
    annealed_until = ANNEALED_UNTIL_IF_CLOSE if close else ANNEALED_UNTIL
    for number, (length, hot, weight, origin) in enumerate(rounds):
        left = sum(later[0] for later in rounds[number:])
        end = budget.used() + max(0.0, annealed_until - budget.used()) * length / left
        anneal_until(search, end, origin_of(search, origin, start), hot, weight)
    bound_until(search, annealed_until + 0.04)
    prove_until(search, 1.0)
    return solution_of(search, "portfolio", startup_s)
