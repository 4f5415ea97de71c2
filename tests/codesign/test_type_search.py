"""The search over sets of chip types: bounds are bounds, exact is exact, and the polish finds what is exact."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worked_example import TableProxy, loss_cfg, small_segments, worked_chips, worked_segments

from pipeline.codesign.hard_problem import HardProblem, hard_costs, hard_problem
from pipeline.codesign.mapping_search import best_mapping
from pipeline.codesign.type_bounds import value_bounds
from pipeline.codesign.type_search import (
    Judge,
    best_homogeneous,
    chip_sets,
    exact_type_search,
    mapped_designs,
    polish,
)
from pipeline.config.hardware import HwConfig
from pipeline.errors import ConfigError, DataError
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.hw_proxy.workload import KeepRatios
from pipeline.trainer.workload_segments import workload_segments


def random_problem(
    seed: int, K: int, T: int, *, serial: bool = False, logarithmic: bool = True, tight: float = 0.6
) -> HardProblem:
    """A problem without structure; `tight` moves capacities towards what a single segment needs."""
    rng = np.random.default_rng(seed)
    weight, resident = rng.uniform(5, 20, K), rng.uniform(1, 10, K)
    room = (1 - tight) * (weight.sum() + resident.max()) + tight * (weight + resident).max()
    return HardProblem(
        names=tuple("abcdefgh"[:T]),
        latency_ms=rng.uniform(1, 10, (K, 1)) * rng.uniform(0.3, 2.0, (1, T)) * rng.uniform(0.7, 1.3, (K, T)),
        dynamic_j=rng.uniform(0.1, 1.0, (K, T)),
        weight_mb=weight,
        resident_mb=resident,
        traffic_mb=rng.uniform(0, 5, K),
        usable_mb=room * rng.uniform(0.8, 1.5, T),
        idle_w=rng.uniform(5, 50, T),
        area_mm2=rng.uniform(50, 150, T),
        tdp_w=rng.uniform(50, 150, T),
        serial=serial,
        hop_ms=0.01,
        ms_per_mb=0.02,
        pj_per_bit=1.0,
        weights=(1.0, 1.0, 0.2, 0.05),
        logarithmic=logarithmic,
        reference=(10.0, 2.0, 50.0),
        area_budget_mm2=320.0,
        tdp_budget_w=340.0,
    )


def brute_force(problem: HardProblem, types: tuple[int, ...]) -> float:
    """The least L_hw over all mappings to these chips."""
    best = math.inf
    for mapping in itertools.product(range(len(types)), repeat=problem.num_segments):
        costs = hard_costs(problem, types, mapping)
        if costs.fits:
            best = min(best, problem.value_of(costs.latency_ms, costs.energy_j, costs.peak_mb, len(types)))
    return best


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), serial=st.booleans(), logarithmic=st.booleans(), tight=st.floats(0.0, 1.0))
def test_search_is_exact_and_bounds_are_below(seed: int, serial: bool, logarithmic: bool, tight: float) -> None:
    """Against every mapping of every set of up to three chips."""
    problem = random_problem(seed, 4, 3, serial=serial, logarithmic=logarithmic, tight=tight)
    sets = chip_sets(problem, 3)
    types = [tuple(int(t) for t in np.repeat(np.arange(3), counts)) for counts in sets]
    truth = np.array([brute_force(problem, chosen) for chosen in types])
    bounds = value_bounds(problem, sets)
    assert (bounds <= truth + 1e-9).all()
    if not np.isfinite(truth).any():
        with pytest.raises(DataError):
            exact_type_search(problem, 3)
        return
    found = exact_type_search(problem, 3)
    assert found.value == pytest.approx(float(truth.min()), abs=1e-9)
    assert polish(problem, [], 3).value == pytest.approx(float(truth.min()), abs=1e-9)
    alike = [value for chosen, value in zip(types, truth, strict=True) if len(set(chosen)) == 1]
    if math.isfinite(min(alike)):
        assert best_homogeneous(problem, 3).value == pytest.approx(min(alike), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), slots=st.integers(1, 4))
def test_sets_are_all_that_keep_the_budgets(seed: int, slots: int) -> None:
    problem = random_problem(seed, 2, 3)
    expected = {
        counts
        for counts in itertools.product(range(slots + 1), repeat=3)
        if 0 < sum(counts) <= slots and problem.within_budgets([t for t in range(3) for _ in range(counts[t])])
    }
    assert {tuple(counts) for counts in chip_sets(problem, slots).tolist()} == expected


def test_mapping_search_finds_the_best_mapping_and_respects_hops() -> None:
    problem = random_problem(3, 6, 3)
    types = (0, 1, 2)
    assert best_mapping(problem, types).value == pytest.approx(brute_force(problem, types))
    far = best_mapping(problem, types, 3.0 * (1 - np.eye(3)))
    assert far.value >= best_mapping(problem, types).value
    assert far.costs is not None
    again = hard_costs(problem, types, far.mapping, 3.0 * (1 - np.eye(3)))
    assert again.latency_ms == pytest.approx(far.costs.latency_ms)


def test_what_breaks_a_budget_or_fits_nowhere_has_no_value() -> None:
    problem = random_problem(1, 4, 3)
    judge = Judge(problem)
    broken, empty = mapped_designs(problem, [["a"] * 8, [None, None]], judge)
    assert not broken.feasible
    assert not empty.feasible
    with pytest.raises(ConfigError, match="'q' is not among"):
        mapped_designs(problem, [["q"]], judge)


def test_infeasibility_is_explained() -> None:
    segments, proxy = worked_segments(), TableProxy()
    huge = worked_segments()
    huge[2].weight_bytes = 5e9
    with pytest.raises(DataError, match="segment 2 needs 5070 MB; the largest chip type can hold 1000 MB"):
        hard_problem(huge, worked_chips(), proxy, loss_cfg())
    many = worked_segments()
    for segment in many:
        segment.weight_bytes = 9e8
    with pytest.raises(DataError, match=r"need 2770 MB together; 2 slots of the largest chip hold 2000 MB, 770 MB"):
        exact_type_search(hard_problem(many, worked_chips(), proxy, loss_cfg()), 2)
    with pytest.raises(ConfigError, match=r"area_budget_mm2=30.*50 mm2 \(b\), 20 mm2 more"):
        hard_problem(segments, worked_chips(), proxy, loss_cfg(area_budget_mm2=30.0))
    with pytest.raises(ConfigError, match=r"tdp_budget_w=40.*60 W \(b\), 20 W more"):
        hard_problem(segments, worked_chips(), proxy, loss_cfg(tdp_budget_w=40.0))
    roomy = worked_segments()
    for segment in roomy:
        segment.weight_bytes = 6e8
    only_b = hard_problem(roomy, worked_chips(), proxy, loss_cfg(area_budget_mm2=60.0))
    with pytest.raises(
        DataError, match="area_budget_mm2=60: the least chip that holds a segment needs 100 mm2, 40 more"
    ):
        exact_type_search(only_b, 8)
    cut = small_segments()
    cut[0].parent_id = 1
    with pytest.raises(DataError, match="unsplit"):
        hard_problem(cut, worked_chips(), RooflineProxy(), loss_cfg())


def test_the_control_library_has_a_homogeneous_optimum() -> None:
    """`xcd` leads in everything: the best set is of one type, whatever search is asked; without it a mix pays."""
    shares = torch.full((12,), 0.75)
    tokens = torch.cat([torch.ones(3), torch.full((9,), 0.5)])
    keep = KeepRatios(tokens, shares, shares, torch.ones(12), torch.ones(12))
    segments = workload_segments(HwConfig(), keep)
    library = load_chip_library()
    judged = {
        name: hard_problem(segments, library.select(name), RooflineProxy(), loss_cfg(mapping_cfg={})).energy_delay()
        for name in ("control", "default")
    }
    exact = exact_type_search(judged["control"], 16)
    assert exact.chips == ("xcd",) * 8
    assert best_homogeneous(judged["control"], 16).value == pytest.approx(exact.value)
    assert polish(judged["control"], [["l4", "small_core"]], 16).value == pytest.approx(exact.value)
    mix = exact_type_search(judged["default"], 16)
    assert len(set(mix.chips)) > 1
    assert math.exp(mix.value - best_homogeneous(judged["default"], 16).value) < 0.85
