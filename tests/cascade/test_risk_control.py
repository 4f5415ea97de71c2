"""The threshold's guarantee holds on recordings it has not seen, and fails safe."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.cascade.risk_control import (
    MARGINS,
    Verdicts,
    calibrate,
    clustered_upper_bound,
    design_effect,
    violation_rate,
)

LEVEL = 0.1


def simulated(seed: int, recordings: int, windows: int = 60, correlated: bool = True) -> Verdicts:
    """Windows whose simple model errs more at small margins, in recordings some of which are harder than others."""
    generator = np.random.default_rng(seed)
    hardness = generator.gamma(2.0, 0.5, recordings) if correlated else np.ones(recordings)
    blocks = np.repeat(np.arange(recordings), windows)
    margin = generator.exponential(2.0, recordings * windows)
    error = np.clip(0.25 * hardness[blocks] * np.exp(-1.5 * margin), 0, 1)
    return Verdicts(
        margin=margin,
        simple_right=generator.random(len(blocks)) > error,
        complex_right=generator.random(len(blocks)) > 0.02,
        ictal=np.tile(np.arange(windows) % 3 == 0, recordings),
        blocks=blocks.astype(str),
    )


@pytest.mark.slow
@pytest.mark.parametrize("recordings", [6, 20])
def test_the_bound_holds_as_often_as_stated(recordings):
    trials, limit = 200, 0.03
    margins = [calibrate(simulated(seed, recordings), limit, 1.0, LEVEL).margin for seed in range(trials)]
    large = simulated(12345, 2000)
    risk = {margin: large.losses(margin).mean() for margin in set(margins)}
    violations = np.mean([risk[margin] > limit for margin in margins])
    assert violations <= LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / trials)


def test_more_recordings_allow_a_looser_margin():
    few, many = (
        np.mean([calibrate(simulated(seed, count), 0.03, 1.0, LEVEL).margin for seed in range(10)])
        for count in (15, 120)
    )
    assert math.isfinite(many)
    assert many < few


def test_too_few_windows_route_everything_and_say_so():
    chosen = calibrate(simulated(0, 2, windows=10), 0.005, 0.02, LEVEL)
    assert chosen.margin == math.inf
    assert "too small" in chosen.reason


def test_a_faultless_simple_model_keeps_everything_given_enough_windows():
    verdicts = simulated(0, 200)
    faultless = Verdicts(verdicts.margin, np.ones(12000, bool), verdicts.complex_right, verdicts.ictal, verdicts.blocks)
    assert calibrate(faultless, 0.005, 0.02, LEVEL).margin == 0.0


def test_the_ictal_bound_is_its_own():
    verdicts = simulated(1, 60)
    loose = calibrate(verdicts, 0.03, 1.0, LEVEL).margin
    strict = calibrate(verdicts, 0.03, 0.015, LEVEL).margin
    assert strict > loose


def test_the_budget_of_calls_makes_the_margin_stricter_but_never_dearer():
    verdicts = simulated(3, 200)
    loosest = calibrate(verdicts, 0.05, 1.0, LEVEL)
    calls = float((verdicts.margin <= loosest.margin).mean())
    budgets = [0.0, calls / 2, calls, calls + 0.1, calls + 0.3, 1.0]
    chosen = [calibrate(verdicts, 0.05, 1.0, LEVEL, call_budget=budget) for budget in budgets]
    # A budget below what the bounds ask for is not kept: risk goes first.
    assert [one.margin for one in chosen[:3]] == [loosest.margin] * 3
    for budget, one in list(zip(budgets, chosen, strict=True))[3:]:
        assert one.margin > loosest.margin
        assert (verdicts.margin <= one.margin).mean() <= budget
        stricter = [margin for margin in MARGINS if margin > one.margin]
        assert all((verdicts.margin <= margin).mean() > budget for margin in stricter)
        assert verdicts.losses(one.margin).mean() <= verdicts.losses(loosest.margin).mean()
        assert "budget" in one.reason
    assert calibrate(simulated(0, 2, windows=10), 0.005, 0.02, LEVEL, call_budget=1.0).margin == math.inf


def test_tests_stop_at_the_first_failure():
    table = calibrate(simulated(2, 40), 0.03, 1.0, LEVEL).table
    assert table["passed"].iloc[:-1].all()
    assert not table["passed"].iloc[-1]
    assert table["margin"].tolist() == list(MARGINS[: len(table)])


def test_correlation_widens_the_bound():
    blocks = np.repeat(np.arange(10), 50)
    spread = np.zeros(500, bool)
    spread[::50] = True
    bunched = np.zeros(500, bool)
    bunched[:10] = True
    assert design_effect(bunched, blocks) > 3 * design_effect(spread, blocks)
    assert clustered_upper_bound(bunched, blocks, LEVEL) > clustered_upper_bound(spread, blocks, LEVEL)
    assert clustered_upper_bound(np.ones(5, bool), blocks[:5], LEVEL) == 1.0
    assert clustered_upper_bound(np.zeros(0, bool), blocks[:0], LEVEL) == 1.0


@pytest.mark.slow
def test_resampling_recordings_keeps_the_level():
    allowed = LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / 200)
    assert violation_rate(simulated(7, 60), 0.03, 1.0, LEVEL) <= allowed
    assert violation_rate(simulated(7, 60), 0.03, 1.0, LEVEL, call_budget=0.3) <= allowed
    with pytest.raises(ValueError, match="at least four"):
        violation_rate(simulated(7, 3), 0.03, 1.0, LEVEL)
