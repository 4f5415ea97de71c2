"""The order of the alternation, its number of solves, what it accepts, and that it can be interrupted."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.version_c import AlternationConfig
from pipeline.trainer.alternation import ROW_COLUMNS, AlternationState, Candidate, alternate


def design(number: int) -> Candidate:
    return Candidate(("big_core",), {"mapping": [0], "rewire_meta": []}, ((float(number), 0.0),))


@dataclass
class FakeSteps:
    """Designs are numbered; `losses` says what each costs, and A makes the network, hence all of them, cheaper."""

    losses: dict[int, float]
    placed: dict[int, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    solver_calls: int = 0
    trained: int = 0

    def price(self, candidate: Candidate) -> dict[str, float]:
        return {"L_hw": self.losses[int(candidate.pos_mm[0][0])] - 0.01 * self.trained}

    def train(self, held: Candidate) -> dict[str, float]:
        self.calls.append("A")
        self.trained += 1
        return {"task": 1.0, **self.price(held)}

    def relax(self, outer: int, step: int) -> dict[str, float]:
        self.calls.append("B")
        return {"L_hw": 0.5}

    def solve(self, outer: int, held: Candidate | None) -> Candidate:
        self.calls.append("C")
        self.solver_calls += 1
        return design(outer + 1)

    def place(self, outer: int, held: Candidate) -> tuple[list[dict[str, float]], Candidate | None]:
        self.calls.append("D")
        number = int(held.pos_mm[0][0])
        moved = self.placed.get(number)
        return [{"layout": 1.0}], None if moved is None else design(moved)


SETTINGS = AlternationConfig(outer=3, steps_theta=2, steps_alpha=2, steps_layout=1)


def test_a_b_c_d_take_turns_after_one_solve():
    steps = FakeSteps(dict.fromkeys(range(5), 1.0))
    alternate(steps, SETTINGS, AlternationState(), lambda state: None)
    assert "".join(steps.calls) == "C" + 3 * "AABBCD"
    assert steps.solver_calls == SETTINGS.outer + 1


@given(
    st.lists(st.floats(0.0, 10.0), min_size=4, max_size=4),
    st.lists(st.floats(0.0, 10.0), min_size=4, max_size=4),
)
def test_the_hardened_loss_never_rises_by_c_or_d(found: list[float], moved: list[float]):
    losses = dict(enumerate(found)) | {10 + number: value for number, value in enumerate(moved)}
    steps = FakeSteps(losses, placed={number: 10 + number for number in range(4)})
    state = AlternationState()
    held = alternate(steps, SETTINGS, state, lambda state: None)
    table = pd.DataFrame(state.rows, columns=ROW_COLUMNS)
    hardened = table[table["term"] == "L_hw_hardened"]["value"].to_numpy()
    assert (hardened[1:] <= hardened[:-1] + 1e-9).all(), "A only gains here, B changes nothing, C and D may not lose"
    assert steps.price(held)["L_hw"] == pytest.approx(hardened[-1])


def test_a_run_cut_after_any_outer_iteration_ends_the_same():
    losses = {0: 5.0, 1: 4.0, 2: 6.0, 3: 3.0}
    saved: list[tuple[AlternationState, FakeSteps]] = []
    steps = FakeSteps(losses)
    state = AlternationState()
    whole = alternate(steps, SETTINGS, state, lambda now: saved.append((copy.deepcopy(now), copy.deepcopy(steps))))
    for kept, then in saved:
        then.solver_calls = 0  # a new process has not solved anything yet
        assert alternate(then, SETTINGS, kept, lambda now: None) == whole
        assert kept.rows == state.rows


def test_every_step_tells_its_loss_and_the_hardened_one():
    state = AlternationState()
    alternate(FakeSteps(dict.fromkeys(range(5), 1.0)), SETTINGS, state, lambda state: None)
    table = pd.DataFrame(state.rows, columns=ROW_COLUMNS)
    for phase, count in (("A", 2), ("B", 2)):
        steps = table[(table["phase"] == phase) & (table["term"] == "L_hw_hardened")]
        assert len(steps) == SETTINGS.outer * count
        assert steps.groupby("outer").size().eq(count).all()


def test_a_solver_that_is_asked_too_often_is_a_bug():
    class Greedy(FakeSteps):
        def train(self, held: Candidate) -> dict[str, float]:
            self.solver_calls += 1
            return super().train(held)

    with pytest.raises(AssertionError, match="there must be one more"):
        alternate(Greedy(dict.fromkeys(range(5), 1.0)), SETTINGS, AlternationState(), lambda state: None)
