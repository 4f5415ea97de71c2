from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.pruning import PruningConfig
from pipeline.models.keep_schedule import final_phase, phase_at

CFG = PruningConfig(temperature=0.1, temperature_final=0.02, keep_warmup=0.2, gate_warmup=0.1, gate_freeze=0.7)


@given(st.floats(0, 1), st.floats(0, 1))
def test_schedules_only_move_towards_their_end(one: float, other: float) -> None:
    early, late = phase_at(CFG, min(one, other)), phase_at(CFG, max(one, other))
    assert early.drop_ramp <= late.drop_ramp
    assert early.temperature >= late.temperature
    assert early.target_ramp <= late.target_ramp
    assert early.soft_gates >= late.soft_gates
    assert early.gates_learn >= late.gates_learn


def test_ends() -> None:
    start, end = phase_at(CFG, 0.0), phase_at(CFG, 1.0)
    assert (start.drop_ramp, start.temperature, start.target_ramp, start.soft_gates) == (0.0, 0.1, 0.0, True)
    assert end.temperature == pytest.approx(final_phase(CFG).temperature)
    assert (end.drop_ramp, end.soft_gates, end.gates_learn, end.target_ramp) == (1.0, False, False, 1.0)
    assert phase_at(CFG, 0.1).drop_ramp == pytest.approx(0.5)


def test_targets_are_whole_before_gates_freeze() -> None:
    assert phase_at(CFG, 0.56).target_ramp == 1.0
    assert phase_at(CFG, 0.56).gates_learn


def test_no_warm_up_starts_at_the_end() -> None:
    cfg = PruningConfig(keep_warmup=0.0, gate_warmup=0.0)
    assert phase_at(cfg, 0.0).drop_ramp == 1.0
    assert not phase_at(cfg, 0.0).soft_gates
