"""The layout terms in torch: equal to the exact objective, right gradients, finite at coincident chips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_objective import POSITIONS, drawn
from torch import Tensor

from pipeline.errors import ConfigError, DataError
from pipeline.layout.gradient import anneal_penalties, layout_loss, place_by_gradient
from pipeline.layout.instance import Region, layout_instance_from
from pipeline.layout.objective import score
from pipeline.layout.start import legal_start
from pipeline.layout.terms import boundary_mm2, heat_c, overlap_mm2, temperatures_c, wire_length_mm
from pipeline.layout.wafer_layout import LayoutSettings, WaferLayout

Shape = Literal["rect", "circle"]


@dataclass
class Stage:
    """A segment, as far as the layout looks at it."""

    traffic_out_bytes: float | Tensor


def specs(widths: list[float], heights: list[float], powers: list[float]) -> dict[str, Tensor]:
    """What the chip configuration hands over."""
    return {"width_mm": torch.tensor(widths), "height_mm": torch.tensor(heights), "tdp_w": torch.tensor(powers)}


DISC = Region("circle", 30.0, 30.0)
CHIPS = specs([8.0, 8.0, 0.0, 6.0], [6.0, 6.0, 0.0, 5.0], [100.0, 50.0, 0.0, 20.0])
CHAIN = [Stage(4e6), Stage(1e6), Stage(2e6), Stage(0.0)]
MAPPING = [0, 0, 1, 3]


@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), kind=st.sampled_from(["circle", "rect"]))
@settings(max_examples=40, deadline=None)
def test_wire_and_heat_are_the_exact_ones_and_penalties_vanish_where_legal(seed: int, n: int, kind: str) -> None:
    instance = drawn(seed, n, kind)
    points = np.random.default_rng(seed).uniform(-14, 14, (n, 2))
    pos_mm, exact = torch.tensor(points), score(instance, points)
    size_mm = torch.tensor(np.stack([instance.w_mm, instance.h_mm], 1))
    wire = wire_length_mm(pos_mm, torch.tensor(instance.nets), torch.tensor(instance.net_weight))
    assert float(wire) == pytest.approx(exact.wl_mm)
    assert float(heat_c(pos_mm, instance)) == pytest.approx(exact.heat_c, abs=1e-5)
    assert float(temperatures_c(pos_mm, instance).max()) == pytest.approx(exact.t_peak_c, rel=1e-6)
    overlap = float(overlap_mm2(pos_mm, size_mm, instance.gap_mm))
    boundary = float(boundary_mm2(pos_mm, size_mm, instance.region))
    assert (overlap > 0) == (exact.overlapping_pairs > 0)
    assert (boundary > 0) == (exact.chips_outside > 0)
    assert exact.legal == (overlap + boundary == 0)


@given(seed=st.integers(0, 10_000), shape=st.sampled_from(["rect", "circle"]), kind=st.sampled_from(["circle", "rect"]))
@settings(max_examples=30, deadline=None)
def test_gradients_equal_finite_differences(seed: int, shape: Shape, kind: str) -> None:
    """At random places, where kinks have measure zero: a difference that straddles one is left out."""
    instance = replace(drawn(seed, 6, kind), t_max_c=41.0)
    points = np.random.default_rng(seed).uniform(-12, 12, (6, 2))
    pos_mm = torch.tensor(points, requires_grad=True)
    layout_loss(pos_mm, instance, 0.7, shape).backward()
    assert pos_mm.grad is not None

    def at(index: tuple[int, int], offset: float) -> float:
        moved = torch.tensor(points)
        moved[index] += offset
        return float(layout_loss(moved, instance, 0.7, shape))

    smooth = 0
    for index in np.ndindex(6, 2):
        step = 1e-6
        forward, backward = (at(index, step) - at(index, 0)) / step, (at(index, 0) - at(index, -step)) / step
        if abs(forward - backward) < 1e-4:
            smooth += 1
            assert float(pos_mm.grad[index]) == pytest.approx((forward + backward) / 2, abs=2e-5, rel=1e-4)
    assert smooth >= 10


@pytest.mark.parametrize("shape", ["rect", "circle"])
def test_coincident_chips_give_no_nan_and_are_parted(shape: Shape) -> None:
    instance = drawn(4, 5)
    pos_mm = torch.zeros((5, 2), dtype=torch.float64, requires_grad=True)
    loss = layout_loss(pos_mm, instance, 1.0, shape)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(pos_mm.grad).all()
    before = score(instance, np.zeros((5, 2))).overlap_mm2
    assert score(instance, anneal_penalties(instance, np.zeros((5, 2)), 120, overlap=shape)).overlap_mm2 < 0.2 * before


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_permuting_slots_permutes_the_gradient(seed: int) -> None:
    instance, rng = drawn(seed, 6), np.random.default_rng(seed)
    points, order = rng.uniform(-10, 10, (6, 2)), rng.permutation(6)
    permuted = replace(
        instance,
        w_mm=instance.w_mm[order],
        h_mm=instance.h_mm[order],
        tdp_w=instance.tdp_w[order],
        nets=np.argsort(order)[instance.nets],
    )
    a, b = torch.tensor(points, requires_grad=True), torch.tensor(points[order], requires_grad=True)
    layout_loss(a, instance).backward()
    layout_loss(b, permuted).backward()
    assert a.grad is not None
    assert b.grad is not None
    assert torch.allclose(a.grad[torch.tensor(order)], b.grad)


def test_hand_worked_penalties() -> None:
    """docs/layout.md works these: squares of 4 mm, 3 mm apart along x and 1 along y, gap 0.5; a corner outside."""
    pos_mm, size_mm = torch.tensor([[0.0, 0.0], [3.0, 1.0]]), torch.full((2, 2), 4.0)
    assert float(overlap_mm2(pos_mm, size_mm, 0.5)) == pytest.approx(1.5**2)
    radius = 2.0
    assert float(overlap_mm2(pos_mm, size_mm, 0.5, "circle")) == pytest.approx((2 * radius + 0.5 - 10**0.5) ** 2)
    assert float(boundary_mm2(pos_mm, size_mm, Region("circle", 5.0, 5.0))) == pytest.approx((34**0.5 - 5) ** 2)
    assert float(boundary_mm2(pos_mm, size_mm, Region("rect", 4.5, 2.0))) == pytest.approx(0.5**2 + 1.0**2)


def test_hand_worked_instance_in_torch(content: dict[str, Any]) -> None:
    instance = layout_instance_from(content, "three.json")
    assert float(layout_loss(torch.tensor(POSITIONS), instance)) == pytest.approx(1.15)


def test_gradient_placement_is_legal_and_beats_shelves() -> None:
    instance = replace(drawn(2, 8), region=Region("circle", 16.0, 16.0))
    start, placed = legal_start(instance), place_by_gradient(instance, 300)
    assert start is not None
    assert placed is not None
    assert score(instance, placed).cost < score(instance, start).cost


def test_loss_reaches_positions_and_traffic_but_not_empty_slots() -> None:
    """The share of a net that is longer than the average costs; all traffic together cancels, as in J."""
    layout = WaferLayout(4, DISC)
    with torch.no_grad():
        layout.pos[0, 0] -= 5.0
    sent = torch.tensor(1e6, requires_grad=True)
    loss, stats = layout(MAPPING, [CHAIN[0], Stage(sent), *CHAIN[2:]], CHIPS)
    loss.backward()
    assert layout.pos.grad is not None
    assert (layout.pos.grad[[0, 1, 3]].abs().sum(1) > 0).all()
    assert (layout.pos.grad[2] == 0).all()
    assert sent.grad is not None
    assert sent.grad > 0
    more, _ = layout(MAPPING, [CHAIN[0], Stage(1.01e6), *CHAIN[2:]], CHIPS)
    assert float(sent.grad) * 1e4 == pytest.approx(float(more - loss), rel=0.02)
    assert set(stats) == {"wl_mm", "overlap_mm2", "outside_mm", "t_peak_c", "legal", "J"}
    assert stats["legal"] is True


def test_statistics_count_traffic_between_chips_only() -> None:
    """Segments 0 and 1 share slot 0: 1 MB goes from slot 0 to 1 and 2 MB from 1 to 3, times Manhattan mm."""
    layout = WaferLayout(4, DISC)
    p = layout.pos.detach()
    expected = 1 * (p[0] - p[1]).abs().sum() + 2 * (p[1] - p[3]).abs().sum()
    _, stats = layout(MAPPING, CHAIN, CHIPS)
    assert stats["wl_mm"] == pytest.approx(float(expected), rel=1e-5)
    _, forked = layout(MAPPING, CHAIN, CHIPS, edges=[(0, 3, 5e6), (1, 3, 1e6)])
    assert forked["wl_mm"] == pytest.approx(6 * float((p[0] - p[3]).abs().sum()), rel=1e-5)


def test_optimize_layout_off_is_the_grid_and_zero() -> None:
    layout = WaferLayout(4, DISC, LayoutSettings(optimize_layout=False))
    loss, stats = layout(MAPPING, CHAIN, CHIPS)
    assert float(loss) == 0
    assert not layout.pos.requires_grad
    assert stats["legal"] is True


def test_place_moves_to_a_legal_layout_that_is_better_than_the_grid() -> None:
    layout = WaferLayout(4, DISC)
    empty = layout.pos[2].clone()
    grid_j = layout(MAPPING, CHAIN, CHIPS)[1]["J"]
    result = layout.place_(MAPPING, CHAIN, CHIPS, iterations=20_000)
    _, stats = layout(MAPPING, CHAIN, CHIPS)
    assert stats["legal"] is True
    assert stats["J"] < grid_j
    assert stats["J"] == pytest.approx(result.score.cost, rel=1e-5)
    assert torch.equal(layout.pos[2], empty)


def test_bad_mappings_and_sizes_are_named() -> None:
    layout = WaferLayout(4, DISC)
    with pytest.raises(DataError, match="segment 1 is mapped to slot 2, which is empty"):
        layout([0, 2, 1, 3], CHAIN, CHIPS)
    with pytest.raises(DataError, match="3 entries for 4 segments"):
        layout([0, 1, 3], CHAIN, CHIPS)
    with pytest.raises(DataError, match="the layout has 5 slots"):
        WaferLayout(5, DISC)(MAPPING, CHAIN, CHIPS)
    with pytest.raises(ConfigError, match="num_slots is 0"):
        WaferLayout(0, DISC)
