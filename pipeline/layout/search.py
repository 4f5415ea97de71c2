"""The search of `place_chips`: anneals with overlap at a rising price, what is left parted, one legal refinement."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .anneal import EPOCH, Problem, State, run
from .anneal_arrays import problem_of, random_centres, state_of
from .instance import LayoutInstance, fits_alone
from .legalize import legalize
from .objective import score
from .start import legal_start

_MOVES_PER_CHIP_AND_START = 12_000
_MOST_STARTS = 8
_REFINE_SHARE = 0.25
_CHUNK_MOVES = 50 * EPOCH
_PARTING_ROUNDS = 2
_PARTING_SHARE = 0.25
_TARGET_SHARE = 0.9


@dataclass
class Candidate:
    """The best legal layout met: rows x, y, half_w, half_h [4, n] mm and its J, infinite while there is none."""

    rows: np.ndarray
    cost: float = float("inf")

    @property
    def pos_mm(self) -> np.ndarray:
        """Centres [n, 2] mm."""
        return self.rows[:2].T.copy()


@dataclass(frozen=True)
class Schedule:
    """Temperature in units of J and price in J per mm of overlap, both geometric; the price may be infinite."""

    hot: float
    cold: float
    price_first: float
    price_last: float

    def at(self, share: float) -> tuple[float, float]:
        """Temperature and price after `share` of the moves."""
        temperature = self.hot * (self.cold / self.hot) ** share
        if np.isinf(self.price_first):
            return temperature, self.price_first
        return temperature, self.price_first * (self.price_last / self.price_first) ** share


@dataclass(frozen=True)
class Plan:
    """Schedules of the three phases: chips pass through each other; what overlap is left is parted; none is allowed."""

    passing: Schedule
    parting: Schedule
    refining: Schedule


@dataclass
class Budget:
    """Moves planned and made, and the clock that cuts a schedule short on a machine too slow for it.

    The clock never stops an anneal half way, which would leave it hot: chunks still to come shrink instead, as far as
    the pace so far demands. `hurried` remembers that, because the result is then not repeatable.
    """

    begin: float
    deadline: float
    moves_planned: int
    planned_done: int = 0
    done: int = 0
    hurried: bool = False

    def grant(self, size: int) -> int:
        """How many of the next `size` planned moves may be made, 0 when time is up."""
        now = time.perf_counter()
        left_s = _TARGET_SHARE * (self.deadline - self.begin) - (now - self.begin)
        needed_s = (now - self.begin) / self.done * (self.moves_planned - self.planned_done) if self.done else 0.0
        self.planned_done += size
        granted = size
        if left_s <= 0:
            granted = 0
        elif needed_s > left_s:
            granted = int(size * left_s / needed_s)
        self.hurried = self.hurried or granted < size
        self.done += granted
        return granted


def search(instance: LayoutInstance, moves: int, seed: int, rotate: bool, budget: Budget) -> Candidate:
    """The best legal layout found with about `moves` moves; its cost is infinite if none was found."""
    problem = problem_of(instance, rotate=rotate)
    plan = plan_of(instance, problem)
    best = _from_shelves(instance, rotate)
    starts = max(1, min(_MOST_STARTS, moves // (_MOVES_PER_CHIP_AND_START * instance.num_chips)))
    for k in range(starts):
        found = _one_start(instance, problem, plan, int(moves * (1 - _REFINE_SHARE) / starts), [seed, k], budget)
        best = min(best, found, key=lambda candidate: candidate.cost)
    if np.isfinite(best.cost):
        state = _state_at(instance, best)
        anneal(problem, state, plan.refining, int(moves * _REFINE_SHARE), [seed, starts], best, budget)
    return best


def plan_of(instance: LayoutInstance, problem: Problem) -> Plan:
    """The schedules in the instance's own scales.

    A temperature of 1 x `unit` is the wire cost of moving an average chip by its side; the last price exceeds what
    any chip can gain in wire and heat by moving 1 mm, so overlap does not pay in the end.
    """
    side_mm = float(np.sqrt(instance.w_mm * instance.h_mm).mean())
    pull = np.bincount(
        np.repeat(np.arange(instance.num_chips), np.diff(problem.start)), problem.weight, len(problem.tdp_w)
    )
    neighbours = 4 * np.exp(-side_mm / problem.ell)
    glow = problem.heat_weight * problem.r_mut / problem.ell * neighbours * (problem.tdp_w + problem.tdp_w.mean())
    mean = max(float(pull.mean()), 0.1 * float(glow.mean()), 1e-12)
    most = max(float((pull + glow).max()), mean)
    unit = mean * side_mm
    return Plan(
        passing=Schedule(hot=1.4 * unit, cold=1e-3 * unit, price_first=0.1 * mean, price_last=6 * most),
        parting=Schedule(hot=0.1 * unit, cold=1e-3 * unit, price_first=6 * most, price_last=100 * most),
        refining=Schedule(hot=0.02 * unit, cold=1e-5 * unit, price_first=np.inf, price_last=np.inf),
    )


def anneal(
    problem: Problem,
    state: State,
    schedule: Schedule,
    moves: int,
    seed: list[int],
    best: Candidate,
    budget: Budget,
) -> None:
    """Run `schedule` over `moves` moves in chunks, looking at the clock between them; `best` is updated."""
    step = 0.3 * max(problem.half_x, problem.half_y)
    chunks = max(1, round(moves / _CHUNK_MOVES))
    size = max(1, moves // chunks)
    for c in range(chunks):
        granted = budget.grant(size)
        if granted == 0:
            continue
        hot, price_first = schedule.at(c / chunks)
        cold, price_last = schedule.at((c + 1) / chunks)
        draw = int(np.random.SeedSequence([*seed, c]).generate_state(1)[0])
        best.cost, step = run(
            problem, state, granted, hot, cold, price_first, price_last, draw, step, best.rows, best.cost
        )


def _one_start(
    instance: LayoutInstance, problem: Problem, plan: Plan, moves: int, seed: list[int], budget: Budget
) -> Candidate:
    """Anneal from random overlapping centres; what is left of overlap at the end is legalised."""
    turned = _turned_to_fit(instance)
    state = state_of(turned, random_centres(turned, np.random.default_rng(seed)))
    found = Candidate(np.zeros((4, instance.num_chips)))
    anneal(problem, state, plan.passing, moves, [*seed, 0], found, budget)
    for _ in range(_PARTING_ROUNDS):
        if np.isfinite(found.cost):
            return found
        again = int(moves * _PARTING_SHARE)
        budget.moves_planned += again
        anneal(problem, state, plan.parting, again, [*seed, 1], found, budget)
    if np.isfinite(found.cost):
        return found
    as_left = instance.turned(~np.isclose(state.half_w, instance.w_mm / 2))
    return _candidate(as_left, legalize(as_left, np.stack([state.x, state.y], 1), seed=seed[0]))


def _from_shelves(instance: LayoutInstance, rotate: bool) -> Candidate:
    """A legal packing that needs no search; with rotation, lying and standing chips are tried too."""
    variants = [instance]
    if rotate:
        lying = instance.h_mm > instance.w_mm
        variants += [instance.turned(lying), instance.turned(~lying)]
    candidates = [_candidate(variant, legal_start(variant)) for variant in variants]
    return min(candidates, key=lambda candidate: candidate.cost)


def _candidate(instance: LayoutInstance, pos_mm: np.ndarray | None) -> Candidate:
    rows = np.zeros((4, instance.num_chips))
    if pos_mm is None:
        return Candidate(rows)
    rows[:] = [*pos_mm.T, instance.w_mm / 2, instance.h_mm / 2]
    return Candidate(rows, score(instance, pos_mm).cost)


def _state_at(instance: LayoutInstance, candidate: Candidate) -> State:
    state = state_of(instance, candidate.pos_mm)
    state.half_w[:], state.half_h[:] = candidate.rows[2], candidate.rows[3]
    return state


def _turned_to_fit(instance: LayoutInstance) -> LayoutInstance:
    """Chips that fit the region only when turned are turned (none, where rotation is off: check_fits refuses them)."""
    sizes = zip(instance.w_mm, instance.h_mm, strict=True)
    return instance.turned(np.array([not fits_alone(instance.region, w, h) for w, h in sizes]))
