"""Solving: exact on small instances, bounds valid always, and the symmetries an optimum must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.mapping.greedy import greedy, round_robin, snake_order
from pipeline.mapping.instance import MappingInstance, infeasible_reason, read_instance
from pipeline.mapping.local_search import descend
from pipeline.mapping.objective import Objective, evaluate
from pipeline.mapping.strategies import STRATEGIES, solve_instance
from pipeline.mapping.synthetic import random_instance

MOVES = 20_000
SMALL = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(0, 10_000), st.floats(0.3, 1.1))
OBJECTIVES = st.sampled_from(["serial", "balanced"])
BruteForce = Callable[[MappingInstance, Objective], float]


@settings(max_examples=60, deadline=None)
@given(SMALL, OBJECTIVES)
def test_portfolio_proves_small_instances(
    brute_force_ms: BruteForce, sizes: tuple[int, int, int, float], objective: Objective
) -> None:
    """The value is the optimum, the bound is not above it, and the gap is closed; no mapping where none fits."""
    K, S, seed, tightness = sizes
    instance = random_instance(K, S, seed, tightness=tightness, link_gb_s=16.0)
    optimum = brute_force_ms(instance, objective)
    solution = solve_instance(instance, objective, iterations=MOVES, seed=seed)
    if optimum == np.inf:
        assert solution.mapping is None
        assert solution.reason
        return
    assert solution.mapping is not None
    assert solution.value_ms == pytest.approx(optimum, rel=1e-9)
    assert evaluate(instance, solution.mapping, objective) == solution.value_ms
    assert solution.lower_bound_ms <= optimum * (1 + 1e-12)
    assert solution.proved


@settings(max_examples=40, deadline=None)
@given(SMALL, OBJECTIVES, st.sampled_from([name for name in STRATEGIES if name != "portfolio"]))
def test_every_bound_is_valid(
    brute_force_ms: BruteForce, sizes: tuple[int, int, int, float], objective: Objective, strategy: str
) -> None:
    """No strategy's bound exceeds the optimum, and no value lies below it; iterations are few, so duals are raw."""
    K, S, seed, tightness = sizes
    instance = random_instance(K, S, seed, tightness=tightness, link_gb_s=16.0)
    optimum = brute_force_ms(instance, objective)
    solution = solve_instance(instance, objective, strategy, iterations=300, seconds=2.0, seed=seed)  # type: ignore[arg-type]
    assert solution.lower_bound_ms <= optimum * (1 + 1e-9)
    assert solution.value_ms >= optimum * (1 - 1e-9)
    assert (solution.mapping is None) == bool(solution.reason)
    if strategy == "milp" and optimum < np.inf:
        assert solution.value_ms == pytest.approx(optimum, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), OBJECTIVES)
def test_permuting_slots_permutes_the_answer(seed: int, objective: Objective) -> None:
    """Renaming the slots leaves the optimum; the answer of one maps to an equally good answer of the other."""
    instance = random_instance(6, 4, seed)
    order = np.random.default_rng(seed).permutation(4)
    renamed = replace(
        instance,
        latency_ms=np.ascontiguousarray(instance.latency_ms[:, order]),
        capacity_mb=instance.capacity_mb[order],
        hops=np.ascontiguousarray(instance.hops[np.ix_(order, order)]),
        power_w=instance.power_w[order],
    )
    ours = solve_instance(instance, objective, iterations=MOVES)
    theirs = solve_instance(renamed, objective, iterations=MOVES)
    assert ours.value_ms == pytest.approx(theirs.value_ms, rel=1e-9)
    if theirs.mapping is not None:
        assert evaluate(instance, order[theirs.mapping], objective) == pytest.approx(theirs.value_ms)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), OBJECTIVES, st.floats(1.0, 3.0))
def test_more_capacity_or_bandwidth_is_never_worse(seed: int, objective: Objective, factor: float) -> None:
    """The optimum is monotone in the capacities and in the speed of the links."""
    instance = random_instance(6, 4, seed, tightness=0.9, link_gb_s=16.0)
    value = solve_instance(instance, objective, iterations=MOVES).value_ms
    roomier = replace(instance, capacity_mb=instance.capacity_mb * factor)
    faster = replace(instance, ms_per_mb=instance.ms_per_mb / factor)
    for eased in (roomier, faster):
        assert solve_instance(eased, objective, iterations=MOVES).value_ms <= value * (1 + 1e-9)


def test_iterations_and_seed_decide_the_answer() -> None:
    """Two solves with the same number of moves and seed agree in every mapping and value; a clock has no part in it."""
    instance = random_instance(24, 8, 3)
    solutions = [solve_instance(instance, "balanced", iterations=30_000, seed=5) for _ in range(2)]
    assert solutions[0].mapping is not None
    assert (solutions[0].mapping == solutions[1].mapping).all()
    assert solutions[0].lower_bound_ms == solutions[1].lower_bound_ms
    assert [value for _, value in solutions[0].incumbent] == [value for _, value in solutions[1].incumbent]


def test_warm_start_is_never_lost() -> None:
    """Starting from a good mapping with next to no moves returns one at least as good."""
    instance = random_instance(60, 8, 1)
    good = solve_instance(instance, "balanced", iterations=200_000)
    again = solve_instance(instance, "balanced", iterations=50, warm_start=good.mapping)
    assert again.value_ms <= good.value_ms
    with pytest.raises(ConfigError, match="warm start"):
        solve_instance(instance, "balanced", iterations=50, warm_start=np.zeros(3, np.int64))


def test_dp_is_exact_for_serial_without_capacities(brute_force_ms: BruteForce) -> None:
    """With unlimited memory the shortest path is the optimum, proved."""
    for seed in range(20):
        instance = replace(random_instance(6, 4, seed, link_gb_s=16.0), capacity_mb=np.full(4, np.inf))
        solution = solve_instance(instance, "serial", "dp")
        assert solution.value_ms == pytest.approx(brute_force_ms(instance, "serial"))
        assert solution.gap < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), OBJECTIVES)
def test_descent_ends_in_a_local_optimum(seed: int, objective: Objective) -> None:
    """After greedy_local no single reassignment that fits improves the exact objective."""
    instance = random_instance(12, 4, seed, link_gb_s=16.0)
    start = greedy(instance, objective)
    if start is None:
        return
    mapping = descend(instance, start, objective == "balanced")
    value = evaluate(instance, mapping, objective)
    assert value <= evaluate(instance, start, objective) * (1 + 1e-12)
    for k in range(12):
        for j in range(4):
            moved = mapping.copy()
            moved[k] = j
            assert evaluate(instance, moved, objective) >= value * (1 - 1e-9)


def test_round_robin_in_snake_order() -> None:
    """A 2 x 3 grid is walked 0 1 2 5 4 3, so that successive segments sit side by side."""
    assert snake_order(2, 3).tolist() == [0, 1, 2, 5, 4, 3]
    assert round_robin(8, snake_order(2, 3)).tolist() == [0, 1, 2, 5, 4, 3, 0, 1]


def test_forbidden_slots_are_never_used() -> None:
    """An infinite latency keeps a segment off a slot in every strategy's answer."""
    instance = random_instance(10, 4, 0, tightness=0.4)
    latency = instance.latency_ms.copy()
    latency[:, 2] = np.inf
    closed = replace(instance, latency_ms=latency)
    assert infeasible_reason(closed) is None
    for strategy in ("greedy", "greedy_local", "lagrangian", "anneal", "portfolio"):
        solution = solve_instance(closed, "balanced", strategy, iterations=20_000)  # type: ignore[arg-type]
        if solution.mapping is not None:
            assert 2 not in solution.mapping


@pytest.mark.reference_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["map_K010_S04_a", "map_K010_S04_b", "map_K010_S64_a", "map_K024_S04_a"])
@pytest.mark.parametrize("objective", ["serial", "balanced"])
def test_reference_instances_are_proved(reference_data: Path, name: str, objective: Objective) -> None:
    """The smallest shared instances are solved to proved optimality."""
    instance = read_instance(reference_data / "mapping" / f"{name}.json")
    assert solve_instance(instance, objective, iterations=3_000_000).proved
