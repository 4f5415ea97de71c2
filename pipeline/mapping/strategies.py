"""Every way to solve a mapping instance, by name; each returns a `Solution` with a valid bound."""

from __future__ import annotations

import math
import time
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from ..errors import ConfigError
from .bounds import finite, start_bound
from .greedy import greedy, round_robin
from .instance import MappingInstance, infeasible_reason
from .local_search import descend
from .objective import Objective, evaluate
from .path_dp import cheapest_path, run_starts
from .portfolio import solve_portfolio
from .search import Clock, anneal_until, begin_search, bound_until, first_mappings, random_mapping, solution_of, warm_up
from .solution import Solution

Strategy = Literal["round_robin", "greedy", "greedy_local", "dp", "lagrangian", "anneal", "milp", "portfolio"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
OBJECTIVES: tuple[str, ...] = get_args(Objective)


def solve_instance(
    instance: MappingInstance,
    objective: Objective,
    strategy: Strategy = "portfolio",
    *,
    seconds: float | None = 5.0,
    iterations: int | None = None,
    seed: int = 0,
    warm_start: Int[np.ndarray, " K"] | None = None,
    slot_order: Int[np.ndarray, " S"] | None = None,
    clock: Clock = time.perf_counter,
) -> Solution:
    """Solve with one strategy (docs/mapping.md says what each does).

    Args:
        seconds, iterations: limit of `lagrangian`, `anneal` and `portfolio`; moves win over seconds. `milp` knows
            seconds only.
        warm_start: a mapping to improve on (`anneal`, `portfolio`).
        slot_order: order in which `round_robin` deals; default by number.

    Raises:
        ConfigError: an unknown objective or strategy, a limit that is not positive, a warm start of another size.
    """
    _check(instance, objective, strategy, seconds, iterations, warm_start)
    if strategy == "portfolio":
        return solve_portfolio(
            instance, objective, seconds=seconds, iterations=iterations, seed=seed, warm_start=warm_start, clock=clock
        )
    startup_s = warm_up()
    reason = infeasible_reason(instance)
    if reason is not None:
        return Solution(objective, strategy, None, math.inf, math.inf, seconds_startup=startup_s, reason=reason)
    if strategy in ("lagrangian", "anneal"):
        search = begin_search(instance, objective, seconds, iterations, seed, clock)
        start = first_mappings(search, objective, warm_start)
        if strategy == "lagrangian":
            anneal_until(search, 0.1, start, 0.1, 3.0)
            bound_until(search, 0.8)
            anneal_until(search, 1.0, search.bound.path, 0.01, 3.0)
        else:
            anneal_until(search, 1.0, random_mapping(search) if warm_start is None else start, 0.1, 3.0)
        return solution_of(search, strategy, startup_s)
    begin_s = clock()
    solution = _one_shot(instance, objective, strategy, seconds or 60.0, slot_order)
    elapsed_s = clock() - begin_s
    return Solution(
        objective,
        strategy,
        solution.mapping,
        solution.value_ms,
        solution.lower_bound_ms,
        seconds=elapsed_s,
        seconds_startup=startup_s,
        incumbent=[(elapsed_s, solution.value_ms)] if solution.mapping is not None else [],
        reason=solution.reason,
    )


def _check(
    instance: MappingInstance,
    objective: str,
    strategy: str,
    seconds: float | None,
    iterations: int | None,
    warm_start: Int[np.ndarray, " K"] | None,
) -> None:
    if objective not in OBJECTIVES:
        raise ConfigError(f"objective {objective!r}: choose from {', '.join(OBJECTIVES)}")
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy {strategy!r}: choose from {', '.join(STRATEGIES)}")
    if iterations is not None and iterations < 1:
        raise ConfigError(f"iterations={iterations}: must be at least 1")
    if iterations is None and (seconds is None or not 0.0 < seconds < math.inf):
        raise ConfigError(f"time limit {seconds} s: must be a positive number")
    if warm_start is None:
        return
    K, S = instance.num_segments, instance.num_slots
    if warm_start.shape != (K,) or warm_start.min() < 0 or warm_start.max() >= S:
        raise ConfigError(f"warm start: must be {K} slots in 0..{S - 1}")


def _one_shot(
    instance: MappingInstance, objective: Objective, strategy: str, seconds: float, slot_order: np.ndarray | None
) -> Solution:
    if strategy == "milp":
        from .milp import solve_milp  # SciPy's optimisers take a second to import

        return solve_milp(instance, objective, seconds)
    if strategy == "dp":
        return shortest_path(instance, objective)
    balanced = objective == "balanced"
    bound_ms = start_bound(instance, balanced).value_ms
    if strategy == "round_robin":
        order = np.arange(instance.num_slots) if slot_order is None else slot_order
        mapping: np.ndarray | None = round_robin(instance.num_segments, order)
    else:
        mapping = greedy(instance, objective)
        if strategy == "greedy_local" and mapping is not None:
            mapping = descend(instance, mapping, balanced)
    return _judged(instance, objective, strategy, mapping, bound_ms)


def shortest_path(instance: MappingInstance, objective: Objective) -> Solution:
    """The cheapest path under `serial` by dynamic programming over runs that fit; optimal if it fits as a whole.

    Its cost bounds `serial` from below. For `balanced` the path is only a start: the bound is the trivial one.
    """
    K, S = instance.num_segments, instance.num_slots
    latency = finite(instance.latency_ms)
    first = run_starts(instance.latency_ms, instance.memory_mb, instance.capacity_mb, np.inf)
    path = np.zeros(K, np.int64)
    arguments = (latency, instance.memory_mb, instance.send_ms_per_hop, instance.hops, first, np.zeros(S), np.ones(S))
    cost_ms = float(cheapest_path(*arguments, path))
    if math.isinf(cost_ms):
        return Solution(objective, "dp", None, math.inf, math.inf, reason="no chain of runs fits the slots (proved)")
    bound_ms = cost_ms * (1 - 1e-9) if objective == "serial" else start_bound(instance, True).value_ms
    return _judged(instance, objective, "dp", path, bound_ms)


def _judged(
    instance: MappingInstance, objective: Objective, strategy: str, mapping: np.ndarray | None, bound_ms: float
) -> Solution:
    """A solution if the mapping fits, else the reason why it does not."""
    if mapping is None:
        reason = "greedy found no room for a segment; a search (portfolio) may"
        return Solution(objective, strategy, None, math.inf, bound_ms, reason=reason)
    value_ms = evaluate(instance, mapping, objective)
    if math.isfinite(value_ms):
        return Solution(objective, strategy, mapping, value_ms, min(bound_ms, value_ms))
    used = np.bincount(mapping, weights=instance.memory_mb, minlength=instance.num_slots)
    j = int((used - instance.capacity_mb).argmax())
    held = [int(k) for k in np.flatnonzero(mapping == j)]
    reason = f"{strategy} puts {used[j]:.6g} MB on slot {j} of {instance.capacity_mb[j]:.6g} MB (segments {held})"
    if used[j] <= instance.capacity_mb[j] + 1e-6:
        reason = f"{strategy} puts a segment on a slot where it cannot run"
    return Solution(objective, strategy, None, math.inf, bound_ms, reason=reason)
