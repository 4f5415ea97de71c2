"""The exact objective: hand-worked values, equality with the reference evaluator, symmetry and monotonicity."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.layout.instance import LayoutInstance, Region, layout_instance_from
from pipeline.layout.objective import score

POSITIONS = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.5]])


def reference_evaluator(folder: Path) -> Any:
    """The evaluator that comes with the reference instances."""
    spec = importlib.util.spec_from_file_location("reference_evaluate", folder / "mapping" / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(seed: int, n: int, kind: str = "circle") -> LayoutInstance:
    """A random instance; chips need not fit."""
    rng = np.random.default_rng(seed)
    pairs = np.stack(np.triu_indices(n, 1), 1)
    nets = pairs[rng.random(len(pairs)) < 0.4]
    return LayoutInstance(
        name="drawn",
        w_mm=rng.uniform(1, 6, n),
        h_mm=rng.uniform(1, 6, n),
        tdp_w=rng.uniform(0, 50, n),
        nets=nets,
        net_weight=rng.uniform(0, 3, len(nets)),
        region=Region("circle", 12.0, 12.0) if kind == "circle" else Region("rect", 12.0, 9.0),
        gap_mm=0.2,
        t_amb_c=40.0,
        t_max_c=60.0,
        ell_mm=5.0,
        r_self=1.0,
        r_mut=0.4,
        lam_heat=0.7,
        wl_norm=30.0,
    )


def test_hand_worked_layout(content: dict[str, Any]) -> None:
    """docs/layout.md works this layout by hand."""
    placed = score(layout_instance_from(content, "three.json"), POSITIONS)
    assert placed.legal
    assert placed.wl_mm == pytest.approx(2 * 4.0 + 1 * 3.5)
    t0 = 40 + 2 * 10 / math.sqrt(8) + 0.5 * (5 * math.exp(-1) + 1 * math.exp(-math.hypot(4, 3.5) / 4))
    t1 = 40 + 2 * 5 / 2 + 0.5 * (10 * math.exp(-1) + 1 * math.exp(-3.5 / 4))
    assert placed.t_peak_c == pytest.approx(t0) == pytest.approx(48.124, abs=1e-3)
    assert t1 == pytest.approx(47.048, abs=1e-3)
    assert placed.heat_c == 0
    assert placed.cost == pytest.approx(1.15)


def test_heat_is_charged_above_the_limit(content: dict[str, Any]) -> None:
    content["t_max"] = 47.5
    placed = score(layout_instance_from(content, "three.json"), POSITIONS)
    assert placed.heat_c == pytest.approx(48.124 - 47.5, abs=1e-3)
    assert placed.cost == pytest.approx(1.15 + placed.heat_c / 47.5)


def test_one_lacking_gap_and_one_corner_outside_are_illegal(content: dict[str, Any]) -> None:
    instance = layout_instance_from(content, "three.json")
    near = score(instance, np.array([[0.0, 0.0], [3.4, 0.0], [4.0, 3.5]]))
    assert not near.legal
    assert near.cost == math.inf
    assert (near.overlapping_pairs, near.chips_outside, near.overlap_mm2) == (1, 0, 0.0)
    out = score(instance, np.array([[0.0, 0.0], [5.1, 0.0], [4.0, 3.5]]))
    assert not out.legal
    assert out.outside_mm == pytest.approx(0.1)
    assert out.raw_cost == pytest.approx((2 * 5.1 + 1.1 + 3.5) / 10)


@pytest.mark.reference_data
@given(seed=st.integers(0, 10_000), spread=st.floats(0.01, 1.2))
@settings(max_examples=25, deadline=None)
def test_equals_the_reference_evaluator(reference_data: Path, seed: int, spread: float) -> None:
    evaluate = reference_evaluator(reference_data)
    rng = np.random.default_rng(seed)
    for path in sorted((reference_data / "mapping").glob("lay*.json")):
        content = json.loads(path.read_text())
        instance = layout_instance_from(content, str(path))
        layouts = [content["best"]["pos_mm"], rng.uniform(-spread, spread, (instance.num_chips, 2)) * 100]
        for pos_mm in layouts:
            expected, mine = evaluate.eval_layout(content, pos_mm), score(instance, np.array(pos_mm))
            assert mine.legal == expected["legal"]
            assert mine.raw_cost == pytest.approx(expected["J_raw"], rel=1e-12)
            assert mine.t_peak_c == pytest.approx(expected["T_peak"], rel=1e-12)
            assert mine.overlap_mm2 == pytest.approx(expected["overlap_mm2"], abs=1e-9)
            assert mine.chips_outside == expected["n_outside"]
            assert mine.overlapping_pairs == expected["n_overlap_pairs"]


@given(seed=st.integers(0, 10_000), n=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_permuting_chips_permutes_the_answer(seed: int, n: int) -> None:
    instance, rng = drawn(seed, n), np.random.default_rng(seed)
    pos_mm, order = rng.uniform(-8, 8, (n, 2)), rng.permutation(n)
    permuted = replace(
        instance,
        w_mm=instance.w_mm[order],
        h_mm=instance.h_mm[order],
        tdp_w=instance.tdp_w[order],
        nets=np.argsort(order)[instance.nets],
    )
    a, b = score(instance, pos_mm), score(permuted, pos_mm[order])
    assert a.legal == b.legal
    assert a.raw_cost == pytest.approx(b.raw_cost)
    assert a.overlap_mm2 == pytest.approx(b.overlap_mm2)


@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 6), grown=st.floats(0, 3), kind=st.sampled_from(["circle", "rect"])
)
@settings(max_examples=100, deadline=None)
def test_a_larger_region_or_a_smaller_gap_never_hurts(seed: int, n: int, grown: float, kind: str) -> None:
    """Any layout keeps its J_raw and, if it was legal, stays so: hence the optimum cannot get worse."""
    instance = drawn(seed, n, kind)
    pos_mm = np.random.default_rng(seed).uniform(-9, 9, (n, 2))
    region = replace(instance.region, half_x_mm=12 + grown, half_y_mm=instance.region.half_y_mm + grown)
    before = score(instance, pos_mm)
    for relaxed in (replace(instance, region=region), replace(instance, gap_mm=0.2 / (1 + grown))):
        after = score(relaxed, pos_mm)
        assert after.cost <= before.cost
        assert after.raw_cost == before.raw_cost
