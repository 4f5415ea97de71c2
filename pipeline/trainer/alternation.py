"""Who moves when (spec §13.2): A network, B chip types, C chips made definite and segments mapped, D positions.

The order, the number of solves and what is accepted are decided here; what a step does is told by `Steps`. A design
that could be built (`Candidate`) is held all the time. Another one replaces it only if the hardened loss of the present
network does not rise by it: C and D never make a design worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ..config.version_c import AlternationConfig

LOSS = "L_hw"
HARDENED = "L_hw_hardened"
Row = tuple[int, str, int, str, float]
ROW_COLUMNS = ["outer", "phase", "step", "term", "value"]


@dataclass(frozen=True)
class Candidate:
    """A design that could be built.

    Attributes:
        chips: the chip of each slot by name, None where it is empty.
        mapping: what a solve returned, as far as a price needs it: `mapping` (slot of each segment, parts one by one)
            and `rewire_meta` of the segments it split.
        pos_mm: centre of each slot.
    """

    chips: tuple[str | None, ...]
    mapping: Mapping[str, Any]
    pos_mm: tuple[tuple[float, float], ...]


@runtime_checkable
class Steps(Protocol):
    """What the alternation calls. All figures are those of the present network."""

    def train(self, held: Candidate) -> dict[str, float]:
        """A: one optimiser step of the network, priced on the design that is held."""

    def relax(self, outer: int, step: int) -> dict[str, float]:
        """B: one step of the chip logits; `L_hw` and its terms are those of the relaxed chips."""

    def solve(self, outer: int, held: Candidate | None) -> Candidate:
        """C: one solve of the relaxed chips' mapping, and the best design found by making the chips definite."""

    def place(self, outer: int, held: Candidate) -> tuple[list[dict[str, float]], Candidate | None]:
        """D: figures of its steps, and the design with its chips moved; None if that found no legal places."""

    def price(self, candidate: Candidate) -> dict[str, float]:
        """The hardened loss `L_hw` of a design, and its terms."""

    @property
    def solver_calls(self) -> int:
        """How often the mapping solver was called."""


@dataclass
class AlternationState:
    """What a run must remember between two outer iterations; `outer` is the next one."""

    outer: int = 0
    solves: int = 0
    held: Candidate | None = None
    rows: list[Row] = field(default_factory=list)


def alternate(
    steps: Steps, settings: AlternationConfig, state: AlternationState, finished: Callable[[AlternationState], None]
) -> Candidate:
    """Run the outer iterations that are left, and return the design that is held at the end.

    One solve comes before the first A, and one in every C: outer iterations + 1 in all, which is asserted.

    Args:
        finished: called after every outer iteration, e.g. to save the state.
    """
    before = steps.solver_calls - state.solves
    if state.held is None:
        state.held = steps.solve(-1, None)
        _record(state, 0, "start", 0, steps.price(state.held))
    for outer in range(state.outer, settings.outer):
        for step in range(settings.steps_theta):
            figures = steps.train(state.held)
            _record(state, outer, "A", step, figures)
        hardened = steps.price(state.held)[LOSS]
        for step in range(settings.steps_alpha):
            _record(state, outer, "B", step, {**steps.relax(outer, step), HARDENED: hardened})
        _keep_better(state, outer, "C", 0, steps, steps.solve(outer, state.held))
        if settings.steps_layout:
            hardened = steps.price(state.held)[LOSS]
            moves, placed = steps.place(outer, state.held)
            for step, figures in enumerate(moves):
                _record(state, outer, "D", step, {**figures, HARDENED: hardened})
            if placed is not None:
                _keep_better(state, outer, "D", len(moves), steps, placed)
        state.outer, state.solves = outer + 1, steps.solver_calls - before
        finished(state)
    if state.solves != settings.outer + 1:
        raise AssertionError(f"{state.solves} solves in {settings.outer} outer iterations; there must be one more")
    return state.held


def _keep_better(
    state: AlternationState, outer: int, phase: str, step: int, steps: Steps, candidate: Candidate
) -> None:
    """Hold the candidate if its hardened loss is no higher than that of the design held so far."""
    assert state.held is not None
    held, offered = steps.price(state.held), steps.price(candidate)
    accepted = offered[LOSS] <= held[LOSS]
    _record(state, outer, phase, step, offered if accepted else held)
    _record(state, outer, phase, step, {"offered": offered[LOSS], "accepted": float(accepted)})
    if accepted:
        state.held = candidate


def _record(state: AlternationState, outer: int, phase: str, step: int, figures: Mapping[str, float]) -> None:
    """Rows of one step; where a step tells no hardened loss of its own, its loss is one of a hardened design."""
    if LOSS in figures and HARDENED not in figures:
        figures = {**figures, HARDENED: figures[LOSS]}
    state.rows += [(outer, phase, step, term, float(value)) for term, value in figures.items()]
