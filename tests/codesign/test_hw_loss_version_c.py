"""L_hw of several chips: worked by hand, differentiable where it must be, and equal to the hardened design."""

from __future__ import annotations

import inspect
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from worked_example import (
    POSITIONS_MM,
    Places,
    TableProxy,
    loss_cfg,
    small_segments,
    worked_chips,
    worked_segments,
)

from pipeline.codesign.chip_slots import ChipSlotConfig
from pipeline.codesign.hard_problem import hard_costs, hard_problem
from pipeline.codesign.harden import hard_slots
from pipeline.codesign.hw_loss_version_c import compute_hw_loss, soft_hard_gap
from pipeline.config.codesign import HwLossConfig
from pipeline.errors import ConfigError, DataError
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.layout.instance import Region
from pipeline.layout.wafer_layout import LayoutSettings, WaferLayout
from pipeline.mapping.mapping_solver import MappingSolver

GIVEN = {"mapping": [0, 0, 1], "rewire_meta": []}
TYPES = load_chip_library().select("default")


class CountingSolver(MappingSolver):
    """A solver that knows how often it was asked."""

    calls = 0

    def solve_mapping(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        self.calls += 1
        return super().solve_mapping(*arguments, **options)


def worked(cfg: HwLossConfig, **options: Any) -> tuple[Tensor, dict[str, Any]]:
    """The example's loss: chip a in slot 0, b in slot 1, segments 0 and 1 on the first, 2 on the second."""
    standard = {
        "mapping_result": GIVEN,
        "chips": hard_slots(worked_chips(), ["a", "b"]),
        "smoothing": 0.0,
    }
    slots = ChipSlotConfig(worked_chips(), 2).double().eval()
    places = Places(POSITIONS_MM)
    return compute_hw_loss(
        worked_segments(), slots, TableProxy(), MappingSolver(2), places, cfg, **{**standard, **options}
    )


def test_signature_is_the_specs() -> None:
    parameters = list(inspect.signature(compute_hw_loss).parameters.values())
    spec = ["segments", "chip_slot_config", "hw_proxy", "mapping_solver", "wafer_layout", "hw_loss_cfg"]
    assert [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == spec
    assert all(one.default is not one.empty for one in parameters if one.kind is one.KEYWORD_ONLY)


def test_the_example_worked_by_hand() -> None:
    """docs/version_c.md: period 5.2 ms, 0.35 J of work, 64 uJ on the link, 78 mJ at rest."""
    loss, stats = worked(loss_cfg(combine="linear"), reference={"latency_ms": 2.6, "energy_j": 0.856128})
    assert stats["period_ms"] == pytest.approx(5.2)
    assert stats["serial_ms"] == pytest.approx(6.2)
    assert stats["comm_ms"] == pytest.approx(2.2)
    assert stats["energy_dynamic_j"] == pytest.approx(0.35)
    assert stats["energy_link_j"] == pytest.approx(6.4e-5)
    assert stats["energy_idle_j"] == pytest.approx(0.078)
    assert stats["energy_j"] == pytest.approx(0.428064)
    assert stats["edp_j_ms"] == pytest.approx(0.428064 * 5.2)
    assert stats["peak_mem_mb"] == pytest.approx(370.0)
    assert (stats["area_mm2"], stats["tdp_w"]) == pytest.approx((150.0, 180.0))
    assert float(loss) == pytest.approx(5.2 / 2.6 + 0.428064 / 0.856128)
    rows = stats["per_slot"]
    assert [row["compute_ms"] for row in rows] == pytest.approx([3.0, 1.0])
    assert [row["send_ms"] for row in rows] == pytest.approx([2.2, 0.0])
    assert [row["idle_ms"] for row in rows] == pytest.approx([0.0, 4.2])
    assert [row["memory_mb"] for row in rows] == pytest.approx([360.0, 370.0])
    assert stats["open_slots"] == stats["used_slots"] == [0, 1]
    logarithmic, _ = worked(loss_cfg(), reference={"latency_ms": 2.6, "energy_j": 0.856128})
    assert float(logarithmic) == pytest.approx(math.log(2.0) + math.log(0.5))
    serial = loss_cfg(mapping_cfg={**loss_cfg().mapping_cfg, "objective": "serial"})
    assert worked(serial)[1]["energy_idle_j"] == pytest.approx(15e-3 * 6.2)


def test_every_other_term_of_the_example() -> None:
    """Area 150 of 100 mm2, power 180 of 90 W, 370 MB where b holds 400 of which 0.9 may be filled, two chips."""
    cfg = loss_cfg(
        lambda_T=0.0,
        lambda_E=0.0,
        lambda_chip=0.25,
        lambda_area=2.0,
        lambda_tdp=3.0,
        lambda_cap=10.0,
        area_budget_mm2=100.0,
        tdp_budget_w=90.0,
        mapping_cfg={**loss_cfg().mapping_cfg, "usable_memory_share": 0.9},
    )
    _, stats = worked(cfg)
    assert stats["term_chips"] == pytest.approx(0.5)
    assert stats["term_area"] == pytest.approx(2.0 * 0.5)
    assert stats["term_tdp"] == pytest.approx(3.0 * 1.0)
    assert stats["term_capacity"] == pytest.approx(10.0 * (370.0 / 360.0 - 1.0))
    assert stats["term_empty"] == 0.0


def test_a_half_empty_slot_is_priced_and_an_unused_open_one_still_pays() -> None:
    slots = hard_slots(worked_chips(), ["a", "b"])
    alpha = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    cfg = loss_cfg(lambda_empty=4.0)
    assert worked(cfg)[1]["term_empty"] == 0.0
    _, half = worked(cfg, chips={**slots, "alpha": alpha})
    # Slot 1 does 1 of 4 ms of work and is half empty; the time is that of the chip it may hold.
    assert half["term_empty"] == pytest.approx(4.0 * 0.25 * 0.5)
    assert half["period_ms"] == pytest.approx(5.2)
    _, idle = worked(cfg, mapping_result={"mapping": [0, 0, 0], "rewire_meta": []})
    assert idle["idle_slots"] == [1]
    assert idle["energy_idle_j"] == pytest.approx(15e-3 * 8.0)


def test_expected_cost_is_the_mean_over_real_chips() -> None:
    slots = hard_slots(worked_chips(), ["a", "b"])
    share = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    _, stats = worked(loss_cfg(), chips={**slots, "type_share": share})
    assert stats["per_slot"][1]["compute_ms"] == pytest.approx(0.5 * 5.0 + 0.5 * 1.0)
    assert stats["energy_dynamic_j"] == pytest.approx(0.3 + 0.5 * 5.0 * 0.1 + 0.5 * 1.0 * 0.05)


def test_the_specs_mixture_is_cheaper_than_what_it_mixes() -> None:
    """Resolution 2: a mixed specification is a chip that does not exist, better than the mean of the real ones."""
    slots = ChipSlotConfig(TYPES, 4, init_std=0.1).double().eval()
    segments, losses = small_segments(), {}
    mapping = {"mapping": [0, 1, 2, 3, 0], "rewire_meta": []}
    for mode in ("expected", "spec_mix"):
        cfg = loss_cfg(cost_mode=mode, mapping_cfg={})
        _, stats = compute_hw_loss(
            segments, slots, RooflineProxy(), MappingSolver(4), None, cfg, mapping_result=mapping, smoothing=0.0
        )
        losses[mode] = stats["latency_ms"]
    assert 0.0 < losses["spec_mix"] < losses["expected"]


@pytest.fixture(scope="module")
def live() -> dict[str, Tensor]:
    """Gates of a small network, a different one in every block."""
    generator = torch.Generator().manual_seed(1)
    names = ("tokens", "heads", "channels", "attention", "mlp")
    return {name: 0.55 + 0.4 * torch.rand(4, generator=generator, dtype=torch.float64) for name in names}


@pytest.mark.parametrize("cost_mode", ["expected", "spec_mix"])
@pytest.mark.parametrize("objective", ["balanced", "serial"])
@pytest.mark.parametrize("combine", ["log", "linear"])
def test_gradients_are_the_central_differences(
    live: dict[str, Tensor], cost_mode: str, objective: str, combine: str
) -> None:
    """Chip logits of open slots, head, channel and block gates, keep ratios and positions: within 1 %, none zero."""
    cfg = loss_cfg(
        cost_mode=cost_mode,
        combine=combine,
        lambda_mem=0.3,
        lambda_chip=0.1,
        area_budget_mm2=500.0,
        tdp_budget_w=200.0,
        optimize_layout=True,
        mapping_cfg={"objective": objective, "hop_ms": 0.01, "link_gb_s": 4.0, "usable_memory_share": 0.001},
    )
    slots = ChipSlotConfig(TYPES, 4, seed=2).double().eval()
    layout = WaferLayout(4, Region("circle", 60.0, 60.0), LayoutSettings(gap_mm=0.5)).double()
    with torch.no_grad():
        layout.pos.add_(torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    mapping = {"mapping": [0, 1, 2, 3, 1], "rewire_meta": []}
    base = {"latency_ms": 1.0, "energy_j": 0.1, "peak_mem_mb": 2.0, "layout": 1.0}
    leaves = {**live, "logits": slots.logits, "positions": layout.pos}
    for leaf in leaves.values():
        leaf.requires_grad_(True)

    def loss() -> Tensor:
        segments = small_segments(live)
        value, _ = compute_hw_loss(
            segments,
            slots,
            RooflineProxy(),
            MappingSolver(4),
            layout,
            cfg,
            mapping_result=mapping,
            reference=base,
        )
        return value

    gradients = dict(zip(leaves, torch.autograd.grad(loss(), list(leaves.values())), strict=True))
    step = 1e-5
    for name, leaf in leaves.items():
        flat = leaf.detach().view(-1)
        found = torch.zeros_like(flat)
        for place in range(len(flat)):
            before = float(flat[place])
            flat[place] = before + step
            above = float(loss().detach())
            flat[place] = before - step
            below = float(loss().detach())
            flat[place] = before
            found[place] = (above - below) / (2 * step)
        scale = float(found.abs().max())
        assert scale > 1e-6, f"{name} has no gradient"
        exact = gradients[name].reshape(-1)
        assert float((exact - found).abs().max()) <= 0.01 * scale, name


def test_a_given_mapping_is_not_solved_again() -> None:
    solver, slots = CountingSolver(4), ChipSlotConfig(TYPES, 4).eval()
    segments = small_segments()
    cfg = loss_cfg(mapping_cfg={"iterations": 500})
    _, stats = compute_hw_loss(segments, slots, RooflineProxy(), solver, None, cfg)
    assert solver.calls == 1
    for _ in range(3):
        compute_hw_loss(segments, slots, RooflineProxy(), solver, None, cfg, mapping_result=stats["mapping_result"])
    assert solver.calls == 1


def test_empty_slots_are_closed_to_the_solver() -> None:
    slots = ChipSlotConfig(TYPES, 4).fix(["a100", None, "l4", None]).eval()
    cfg = loss_cfg(mapping_cfg={"iterations": 500})
    _, stats = compute_hw_loss(small_segments(), slots, RooflineProxy(), MappingSolver(4), None, cfg)
    assert set(stats["mapping"]) <= {0, 2}
    assert stats["open_slots"] == [0, 2]


def test_all_slots_empty_opens_the_one_that_is_least_so() -> None:
    slots = ChipSlotConfig(TYPES, 3, seed=1).eval()
    with torch.no_grad():
        slots.logits[:, -1] += torch.tensor([9.0, 6.0, 9.0])
    cfg = loss_cfg(mapping_cfg={"iterations": 500})
    loss, stats = compute_hw_loss(small_segments(), slots, RooflineProxy(), MappingSolver(3), None, cfg)
    assert set(stats["mapping"]) == {1}
    loss.backward()
    assert slots.logits.grad is not None
    assert bool(torch.isfinite(slots.logits.grad).all())


def test_a_cold_soft_design_costs_what_the_hardened_one_does() -> None:
    chips = ["a100", "d1", "l4", "l4"]
    segments, cfg = small_segments(), loss_cfg(lambda_mem=0.2, lambda_chip=0.03, mapping_cfg={})
    mapping = {"mapping": [0, 1, 2, 3, 0], "rewire_meta": []}
    base = {"latency_ms": 0.7, "energy_j": 0.3, "peak_mem_mb": 5.0}
    loss, stats = compute_hw_loss(
        segments,
        ChipSlotConfig(TYPES, 4).double().fix(chips).eval(),
        RooflineProxy(),
        MappingSolver(4),
        None,
        cfg,
        mapping_result=mapping,
        reference=base,
        smoothing=0.0,
    )
    problem = hard_problem(segments, TYPES, RooflineProxy(), cfg, base)
    grid = np.array([[0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0]], dtype=float)
    costs = hard_costs(problem, problem.types_of(chips), mapping["mapping"], grid)
    assert costs.latency_ms == pytest.approx(stats["latency_ms"], rel=1e-6)
    assert costs.energy_j == pytest.approx(stats["energy_j"], rel=1e-6)
    value = problem.value_of(costs.latency_ms, costs.energy_j, costs.peak_mb, 4)
    assert value == pytest.approx(float(loss), rel=1e-6)
    assert soft_hard_gap(float(loss), value, "log") < 1e-6
    assert soft_hard_gap(2.2, 2.0, "linear") == pytest.approx(0.1)


def test_a_fine_split_is_priced_from_the_live_segments() -> None:
    """The solver's mapping with parts is kept while gates move; its costs follow, and gradients reach the gates."""
    heads = torch.full((4,), 0.9, dtype=torch.float64, requires_grad=True)
    cfg = loss_cfg(
        mapping_cfg={
            "objective": "serial",
            "fine_split": True,
            "fine_groups": 2,
            "fine_split_attn_ratio_threshold": -1.0,
            "iterations": 2000,
            "link_gb_s": 1e4,
            "hop_ms": 0.0,
        }
    )
    slots = ChipSlotConfig(TYPES, 4).double().fix(["small_core"] * 4).eval()
    proxy, solver = RooflineProxy(), MappingSolver(4)
    segments = small_segments({"heads": heads}, segment_size=1)
    first, stats = compute_hw_loss(segments, slots, proxy, solver, None, cfg)
    result = stats["mapping_result"]
    assert result["rewire_meta"]
    assert stats["serial_ms"] == pytest.approx(result["serial_ms"], rel=1e-5)
    first.backward()
    assert heads.grad is not None
    assert bool((heads.grad > 0).all())
    fewer = small_segments({"heads": heads.detach() - 0.3}, segment_size=1)
    _, later = compute_hw_loss(fewer, slots, proxy, solver, None, cfg, mapping_result=result)
    assert later["serial_ms"] < stats["serial_ms"]
    assert len(later["mapping"]) == len(result["mapping"]) > len(segments)


def test_a_missing_or_negative_weight_is_named() -> None:
    given = {"lambda_T": 1.0, "lambda_E": 1.0, "lambda_mem": 0.0, "lambda_chip": 0.0, "lambda_area": 1.0}
    for name in given:
        missing = {key: value for key, value in given.items() if key != name}
        with pytest.raises(ConfigError, match=f"lacks {name}"):
            worked(SimpleNamespace(**missing))
        with pytest.raises(ConfigError, match=rf"{name}=-0\.5"):
            worked(SimpleNamespace(**{**given, name: -0.5}))
        with pytest.raises(ConfigError, match=name):
            worked(SimpleNamespace(**{**given, name: math.nan}))
    loss, _ = worked(SimpleNamespace(**given, mapping_cfg=loss_cfg().mapping_cfg))
    assert math.isfinite(float(loss))


def test_what_fits_nowhere_is_named() -> None:
    big = worked_segments()
    big[1].weight_bytes = 9e9
    slots = ChipSlotConfig(worked_chips(), 2).fix(["a", "b"]).eval()
    with pytest.raises(DataError, match="segment 1 needs 9060 MB"):
        compute_hw_loss(big, slots, TableProxy(), MappingSolver(2), None, loss_cfg())
    many = worked_segments()
    for segment in many:
        segment.weight_bytes = 5e8
    with pytest.raises(DataError, match="1500 MB together"):
        compute_hw_loss(many, slots, TableProxy(), MappingSolver(2), None, loss_cfg())


def test_chips_that_cannot_be_placed_are_named() -> None:
    layout = WaferLayout(4, Region("circle", 20.0, 20.0), LayoutSettings(gap_mm=0.5))
    specs = hard_slots(TYPES, ["a100"] * 4)["eff_specs"]
    with pytest.raises(DataError, match=r"826 mm2.* does not fit the circle of radius 20 mm"):
        layout.place_([0, 1, 2, 3, 0], small_segments(), specs, iterations=100)
    slots = ChipSlotConfig(TYPES, 4).eval()
    cfg = loss_cfg(optimize_layout=True, mapping_cfg={"iterations": 500})
    with pytest.raises(ConfigError, match="optimize_layout=true needs a wafer layout"):
        compute_hw_loss(small_segments(), slots, RooflineProxy(), MappingSolver(4), None, cfg)
