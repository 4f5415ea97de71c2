"""Legal starts and the legaliser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_objective import drawn

from pipeline.layout.instance import layout_instance_from, read_layout_instance
from pipeline.layout.legalize import legalize, part_by_program
from pipeline.layout.objective import score
from pipeline.layout.start import grid_centres, legal_start


@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 8), spread=st.floats(0, 14), kind=st.sampled_from(["circle", "rect"])
)
@settings(max_examples=25, deadline=None)
def test_legalised_layouts_are_legal(seed: int, n: int, spread: float, kind: str) -> None:
    """Coincident chips (spread 0) and chips outside included; the region here is at most two thirds full."""
    instance = drawn(seed, n, kind)
    pos_mm = np.random.default_rng(seed).uniform(-spread, spread, (n, 2))
    legal = legalize(instance, pos_mm)
    if legal is None:
        assert float((instance.w_mm * instance.h_mm).sum()) > 0.25 * instance.region.area_mm2
        return
    assert score(instance, legal).legal


def test_legal_input_is_left_alone() -> None:
    instance = drawn(1, 5)
    start = legal_start(instance)
    assert start is not None
    kept = legalize(instance, start)
    assert kept is not None
    assert np.array_equal(kept, start)


def test_two_chips_part_by_just_what_they_lack() -> None:
    """Squares of 2 mm with centres 1.5 mm apart and a gap of 0.2 lack 0.7 mm along x, moved by 0.7 in all."""
    instance = replace(
        drawn(0, 2), w_mm=np.full(2, 2.0), h_mm=np.full(2, 2.0), nets=np.zeros((0, 2), int), net_weight=np.zeros(0)
    )
    before = np.array([[0.0, 0.0], [1.5, 0.0]])
    after = part_by_program(instance, before)
    assert after is not None
    assert after[1, 0] - after[0, 0] == pytest.approx(2.2)
    assert np.abs(after - before).sum() == pytest.approx(0.7, abs=1e-6)


@pytest.mark.reference_data
def test_shelves_hold_every_reference_instance(reference_data: Path) -> None:
    for path in sorted((reference_data / "mapping").glob("lay*.json")):
        instance = read_layout_instance(path)
        start = legal_start(instance)
        assert start is not None, path.name
        assert score(instance, start).legal


@pytest.mark.reference_data
def test_a_jolted_best_layout_is_mended_nearby(reference_data: Path) -> None:
    path = reference_data / "mapping" / "lay64_circle.json"
    content = json.loads(path.read_text())
    instance = layout_instance_from(content, path.name)
    best = np.array(content["best"]["pos_mm"])
    jolted = best + np.random.default_rng(0).normal(0, 0.1, best.shape)
    assert not score(instance, jolted).legal
    mended = legalize(instance, jolted)
    assert mended is not None
    assert score(instance, mended).cost < 1.1 * content["best"]["J"]


def test_grid_is_centred_and_even() -> None:
    grid = grid_centres(6, 3.0, 2.0)
    assert grid.tolist() == [[-3, 1], [0, 1], [3, 1], [-3, -1], [0, -1], [3, -1]]
