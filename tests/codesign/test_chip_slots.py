"""Learnable chip types: what they return, how they harden inside budgets, and what is refused."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codesign.chip_slots import ChipSlotConfig, temperature_at
from pipeline.config.chips import ChipType
from pipeline.errors import ConfigError
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.mapping import segments as segment_module

TYPES = load_chip_library().select("default")


def test_names_and_signature_follow_the_spec() -> None:
    parameters = list(inspect.signature(ChipSlotConfig.__init__).parameters.values())
    assert [one.name for one in parameters[1:4]] == ["chip_types", "num_slots", "tau_init"]
    assert [one.default for one in parameters[2:4]] == [16, 1.0]
    assert all(one.kind is one.KEYWORD_ONLY for one in parameters[4:])
    assert segment_module.ChipSlotConfig is ChipSlotConfig
    slots = ChipSlotConfig(TYPES)
    assert slots.logits.shape == (16, len(TYPES) + 1)
    out = slots(hard=False)
    assert {"alpha", "eff_specs"} <= out.keys()
    assert {"peak_flops", "peak_bw", "mem_gb", "area_mm2", "width_mm", "height_mm", "tdp_w"} <= out["eff_specs"].keys()


def test_evaluation_is_the_softmax_and_specs_are_its_sum() -> None:
    slots = ChipSlotConfig(TYPES, 5).eval()
    out = slots()
    torch.testing.assert_close(out["alpha"], torch.softmax(slots.logits, dim=-1))
    for name in ("peak_flops", "area_mm2", "tdp_w"):
        expected = sum(out["alpha"][:, t] * getattr(chip, name) for t, chip in enumerate(TYPES))
        torch.testing.assert_close(out["eff_specs"][name], expected)
    given_open = out["alpha"][:, :-1] / (1 - out["alpha"][:, -1:])
    torch.testing.assert_close(out["type_share"], given_open)


def test_noise_repeats_with_its_generator_and_rows_are_distributions() -> None:
    slots = ChipSlotConfig(TYPES, 6).train()
    first, again = (slots(generator=torch.Generator().manual_seed(3))["alpha"] for _ in range(2))
    other = slots(generator=torch.Generator().manual_seed(4))["alpha"]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.sum(1), torch.ones(6))


def test_hard_rows_are_one_hot_and_keep_a_gradient() -> None:
    slots = ChipSlotConfig(TYPES, 4)
    alpha = slots(hard=True)["alpha"]
    assert set(alpha.detach().round(decimals=6).unique().tolist()) == {0.0, 1.0}
    alpha[:, 0].sum().backward()
    assert slots.logits.grad is not None
    assert float(slots.logits.grad.abs().sum()) > 0.0


def test_slots_start_different_and_the_same_for_a_seed() -> None:
    first, again, other = (ChipSlotConfig(TYPES, 4, seed=seed).logits for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(row) for row in first.tolist()}) == 4


def test_a_cold_softmax_of_a_fixed_design_is_the_design() -> None:
    slots = ChipSlotConfig(TYPES, 3).fix(["l4", None, "d1"]).eval()
    assert slots.harden() == ["l4", None, "d1"]
    alpha = slots()["alpha"]
    assert alpha[1, -1] == pytest.approx(1.0)
    assert not slots.logits.requires_grad
    assert float(slots()["eff_specs"]["area_mm2"].sum()) == pytest.approx(294 + 645)


def test_a_fixed_design_names_its_unknown_chip() -> None:
    with pytest.raises(ConfigError, match=r"slot 1: chip 'big_cor' .*big_core"):
        ChipSlotConfig(TYPES, 2).fix(["l4", "big_cor"])
    with pytest.raises(ConfigError, match="3 chips for 2 slots"):
        ChipSlotConfig(TYPES, 2).fix(["l4"] * 3)


def test_budgets_that_no_chip_keeps_say_which_and_by_how_much() -> None:
    slots = ChipSlotConfig(TYPES, 4)
    with pytest.raises(ConfigError, match=r"area_budget_mm2=60.*100 mm2 \(small_core\), 40 mm2 more"):
        slots.harden(area_budget_mm2=60.0)
    with pytest.raises(ConfigError, match=r"tdp_budget_w=30.*40 W \(small_core\), 10 W more"):
        slots.harden(tdp_budget_w=30.0)


def test_bad_sizes_are_refused() -> None:
    for arguments in (([], 4), (TYPES[:1] * 2, 4), (TYPES, 0)):
        with pytest.raises(ConfigError):
            ChipSlotConfig(*arguments)
    with pytest.raises(ConfigError, match="tau_init"):
        ChipSlotConfig(TYPES, 4, tau_init=0.0)


def _toy(area: float, tdp: float, name: str) -> ChipType:
    return ChipType(name, 1e13, 1e11, 1.0, area, area, 1.0, tdp)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), area=st.floats(12.0, 60.0), tdp=st.floats(9.0, 60.0))
def test_hardening_is_the_most_probable_design_within_the_budgets(seed: int, area: float, tdp: float) -> None:
    types = [_toy(10.0, 8.0, "x"), _toy(20.0, 9.0, "y"), _toy(12.0, 14.0, "z")]
    slots = ChipSlotConfig(types, 3, seed=seed, init_std=2.0)
    design = slots.harden(area, tdp)
    scores = torch.log_softmax(slots.logits.double(), dim=-1)

    def total(chosen: tuple[int, ...]) -> float:
        return sum(float(scores[slot, t]) for slot, t in enumerate(chosen))

    def keeps(chosen: tuple[int, ...]) -> bool:
        held = [types[t] for t in chosen if t < 3]
        return bool(held) and sum(c.area_mm2 for c in held) <= area and sum(c.tdp_w for c in held) <= tdp

    best = max(total(chosen) for chosen in itertools.product(range(4), repeat=3) if keeps(chosen))
    chosen = tuple(3 if name is None else "xyz".index(name) for name in design)
    assert keeps(chosen)
    assert total(chosen) == pytest.approx(best, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), area=st.floats(12.0, 60.0), tdp=st.floats(9.0, 60.0), lead=st.floats(0.0, 3.0))
def test_committed_slots_hold_the_hardened_design_by_a_lead(seed: int, area: float, tdp: float, lead: float) -> None:
    types = [_toy(10.0, 8.0, "x"), _toy(20.0, 9.0, "y"), _toy(12.0, 14.0, "z")]
    slots = ChipSlotConfig(types, 3, seed=seed, init_std=2.0)
    before, design = slots.logits.detach().clone(), slots.harden(area, tdp)
    likeliest = [[*slots.names, None][t] for t in before.argmax(dim=1).tolist()]

    changed = slots.commit(area, tdp, lead=lead)

    assert changed == sum(a != b for a, b in zip(likeliest, design, strict=True))
    assert [[*slots.names, None][t] for t in slots.logits.argmax(dim=1).tolist()] == design
    ranked, ranked_before = slots.logits.sort(dim=1).values, before.sort(dim=1).values
    assert bool((ranked[:, -1] - ranked[:, -2] >= lead - 1e-5).all())
    torch.testing.assert_close(ranked[:, :-1], ranked_before[:, :-1])
    assert slots.commit(area, tdp, lead=lead) == 0


def test_candidates_keep_the_budgets_and_are_different() -> None:
    slots = ChipSlotConfig(TYPES, 16, seed=5)
    area = {chip.name: chip.area_mm2 for chip in TYPES}
    designs = slots.harden_candidates(2400.0, 1400.0)
    assert designs[0] == slots.harden(2400.0, 1400.0)
    assert all(sum(area[name] for name in design if name) <= 2400.0 for design in designs)
    contents = [tuple(sorted(name for name in design if name)) for design in designs]
    assert len(set(contents)) == len(contents) > 1


def test_temperature_falls_by_equal_ratios() -> None:
    taus = [temperature_at(outer, 5, 2.0, 0.2) for outer in range(5)]
    assert taus[0] == pytest.approx(2.0)
    assert taus[-1] == pytest.approx(0.2)
    ratios = [after / before for before, after in itertools.pairwise(taus)]
    assert ratios == pytest.approx([ratios[0]] * 4)
    assert temperature_at(0, 1, 2.0, 0.2) == 2.0
