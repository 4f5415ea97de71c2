"""Timing: as many repeats as asked for, honest about spread, and energy only from a counter that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.hw_proxy.timing import measure, package_energy_j


class Clock:
    """Stands still but for what operations take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, *durations: float):
        """An operation that takes the given seconds in turn."""
        calls = iter(range(10**6))

        def operation() -> None:
            self.now += durations[next(calls) % len(durations)]

        return operation


def test_it_repeats_until_both_limits_are_reached():
    clock = Clock()
    timing = measure(clock.spend(0.001), repeats=20, seconds=0.3, clock=clock)
    assert timing.repeats >= 300
    assert timing.median_ms == pytest.approx(1.0)
    assert timing.spread == pytest.approx(0.0, abs=1e-9)


def test_a_slow_operation_is_not_repeated_for_ever():
    clock = Clock()
    assert measure(clock.spend(10.0), repeats=20, seconds=0.3, clock=clock).repeats == 5


def test_spread_is_the_interquartile_range_over_the_median():
    clock = Clock()
    timing = measure(clock.spend(0.001, 0.003), repeats=40, seconds=0.0, clock=clock)
    assert timing.lowest_ms == pytest.approx(1.0)
    assert timing.highest_ms == pytest.approx(3.0)
    assert timing.spread == pytest.approx(1.0)


def test_energy_is_per_run_and_absent_without_a_counter_or_after_it_wrapped():
    clock = Clock()

    def counter() -> float:
        return 5.0 * clock.now

    timing = measure(clock.spend(0.002), repeats=10, seconds=0.0, clock=clock, energy_j=counter)
    assert timing.energy_j == pytest.approx(0.01)
    assert measure(clock.spend(0.002), repeats=10, seconds=0.0, clock=clock).energy_j is None
    wrapped = measure(clock.spend(0.002), repeats=10, seconds=0.0, clock=clock, energy_j=lambda: -clock.now)
    assert wrapped.energy_j is None


def test_the_processors_counters_add_up_once_each(tmp_path: Path):
    assert package_energy_j(tmp_path) is None
    for name, energy in (("intel-rapl:0", 2_000_000), ("intel-rapl:0:0", 500_000), ("intel-rapl:1", 3_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy}\n")
    assert package_energy_j(tmp_path) == pytest.approx(5.0)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("not a number")
    assert package_energy_j(tmp_path) is None
