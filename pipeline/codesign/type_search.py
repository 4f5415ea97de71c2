"""Which chips: the exact search over sets of chip types, the best homogeneous design, and a 2-exchange polish.

Exact means over sets of types within the budgets: every set is mapped or shown by a bound to be no better. Mappings
inside are annealed. Links are one hop between any two chips, the compact layout that a placement then strives for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from ..errors import ConfigError, DataError
from .hard_problem import HardProblem
from .mapping_search import WALKS, MappedChips, best_mapping
from .type_bounds import value_bounds

MOST_SETS = 200_000


@dataclass
class Judge:
    """Maps sets of chips, each once; counts how often."""

    problem: HardProblem
    moves: int | None = None
    walks: int = WALKS
    seed: int = 0
    known: dict[tuple[int, ...], MappedChips] = field(default_factory=dict)

    def __call__(self, counts: Sequence[int] | Int[np.ndarray, " T"]) -> MappedChips:
        """The best mapping known of `counts[t]` chips of each type t."""
        key = tuple(int(number) for number in counts)
        if key not in self.known:
            types = np.repeat(np.arange(len(key)), key)
            self.known[key] = best_mapping(
                self.problem, types.tolist(), moves=self.moves, walks=self.walks, seed=self.seed
            )
        return self.known[key]


@dataclass(frozen=True)
class TypeSearchResult:
    """The best chips found: their names, mapping and L_hw; how many sets there are and how many were mapped."""

    chips: tuple[str, ...]
    best: MappedChips
    considered: int
    mapped: int

    @property
    def value(self) -> float:
        """L_hw."""
        return self.best.value


def exact_type_search(problem: HardProblem, num_slots: int, *, judge: Judge | None = None) -> TypeSearchResult:
    """The best set of at most `num_slots` chips within the budgets.

    Raises:
        ConfigError: more sets than can be listed.
        DataError: nothing fits; says which budget, by how much.
    """
    judge = Judge(problem) if judge is None else judge
    sets = chip_sets(problem, num_slots)
    bounds = value_bounds(problem, sets)
    order = np.argsort(bounds, kind="stable")
    best = _least([judge(counts) for counts in _largest_homogeneous(problem, num_slots)])
    for position in order:
        if not bounds[position] < (best.value if best is not None else math.inf):
            break
        best = _better(best, judge(sets[position]))
    return _result(problem, best, len(sets), judge, num_slots)


def best_homogeneous(
    problem: HardProblem, num_slots: int, *, count: int | None = None, judge: Judge | None = None
) -> TypeSearchResult:
    """The best design of one chip type: of any number up to `num_slots`, or of exactly `count` chips.

    Raises:
        DataError: none fits.
    """
    judge = Judge(problem) if judge is None else judge
    T = len(problem.names)
    numbers = range(1, num_slots + 1) if count is None else [count]
    sets = [number * np.eye(T, dtype=np.int64)[t] for t in range(T) for number in numbers]
    sets = [counts for counts in sets if problem.within_budgets(_types(counts))]
    return _result(problem, _least([judge(counts) for counts in sets]), len(sets), judge, num_slots)


def polish(
    problem: HardProblem,
    starts: Sequence[Sequence[str | None]],
    num_slots: int,
    *,
    homogeneous: bool = True,
    judge: Judge | None = None,
) -> TypeSearchResult:
    """Replace up to two slots at a time (empty counts as a choice) while L_hw falls, from every start.

    Neighbours are tried in the order of their bounds, and not at all where the bound is no better.

    Args:
        starts: designs by name, e.g. those of `ChipSlotConfig.harden_candidates`; what breaks a budget is skipped.
        homogeneous: start from the largest design of each type too.

    Raises:
        DataError: nothing fits.
    """
    judge = Judge(problem) if judge is None else judge
    T = len(problem.names)
    begins = [np.bincount(problem.types_of(chips), minlength=T) for chips in starts]
    begins = [counts for counts in begins if counts.sum() and problem.within_budgets(_types(counts))]
    if homogeneous:
        begins += _largest_homogeneous(problem, num_slots)
    best, visited = None, 0
    for counts in begins:
        current, found = counts, judge(counts)
        best = _better(best, found)
        while True:
            near = _neighbours(problem, current, num_slots)
            visited += len(near)
            better = _first_better(judge, near, found.value, best)
            if better is None:
                break
            current, found = better
            best = _better(best, found)
    return _result(problem, best, visited, judge, num_slots)


def mapped_designs(problem: HardProblem, designs: Sequence[Sequence[str | None]], judge: Judge) -> list[MappedChips]:
    """Each design with its best mapping; infinite value where a budget is broken or nothing fits."""
    results = []
    for chips in designs:
        types = problem.types_of(chips)
        if not types or not problem.within_budgets(types):
            results.append(MappedChips(tuple(types), (), math.inf, None))
        else:
            results.append(judge(np.bincount(types, minlength=len(problem.names))))
    return results


def chip_sets(problem: HardProblem, num_slots: int) -> Int[np.ndarray, "M T"]:
    """Numbers of chips of each type, for every set of 1 to `num_slots` chips within the budgets.

    Raises:
        ConfigError: there are more than can be listed.
    """
    found = list(_sets(problem, num_slots))
    return np.array(found, dtype=np.int64).reshape(-1, len(problem.names))


def _sets(problem: HardProblem, num_slots: int) -> Iterator[tuple[int, ...]]:
    T = len(problem.names)
    listed = 0
    stack: list[tuple[tuple[int, ...], int, float, float]] = [((), num_slots, 0.0, 0.0)]
    while stack:
        numbers, left, area_mm2, tdp_w = stack.pop()
        t = len(numbers)
        if t == T:
            if sum(numbers):
                listed += 1
                if listed > MOST_SETS:
                    raise ConfigError(
                        f"more than {MOST_SETS} sets of {num_slots} chips of {T} types keep the budgets; search fewer "
                        "types or tighter budgets"
                    )
                yield numbers
            continue
        for number in range(left + 1):
            area, tdp = area_mm2 + number * problem.area_mm2[t], tdp_w + number * problem.tdp_w[t]
            if area > problem.area_budget_mm2 * (1 + 1e-12) or tdp > problem.tdp_budget_w * (1 + 1e-12):
                break
            stack.append(((*numbers, number), left - number, area, tdp))


def _largest_homogeneous(problem: HardProblem, num_slots: int) -> list[Int[np.ndarray, " T"]]:
    sets = []
    for t in range(len(problem.names)):
        room = min(problem.area_budget_mm2 / problem.area_mm2[t], problem.tdp_budget_w / problem.tdp_w[t])
        number = min(num_slots, int(room * (1 + 1e-12)))
        if number:
            sets.append(number * np.eye(len(problem.names), dtype=np.int64)[t])
    return sets


def _neighbours(problem: HardProblem, counts: Int[np.ndarray, " T"], num_slots: int) -> Int[np.ndarray, "M T"]:
    """Sets that differ in what at most two slots hold, within the budgets and the slots."""
    T = len(counts)
    # What one slot's content may become: column T is empty.
    steps = {
        tuple(np.eye(T + 1, dtype=int)[b] - np.eye(T + 1, dtype=int)[a]) for a in range(T + 1) for b in range(T + 1)
    }
    full = np.append(counts, num_slots - counts.sum())
    found = set()
    for first in steps:
        once = full + first
        if (once < 0).any():
            continue
        for second in steps:
            twice = once + second
            if (twice >= 0).all() and twice[:T].sum():
                found.add(tuple(int(number) for number in twice[:T]))
    found.discard(tuple(int(number) for number in counts))
    near = np.array(sorted(found), dtype=np.int64).reshape(-1, T)
    keeps = (near @ problem.area_mm2 <= problem.area_budget_mm2 * (1 + 1e-12)) & (
        near @ problem.tdp_w <= problem.tdp_budget_w * (1 + 1e-12)
    )
    return near[keeps]


def _first_better(
    judge: Judge, near: Int[np.ndarray, "M T"], value: float, best: MappedChips | None
) -> tuple[Int[np.ndarray, " T"], MappedChips] | None:
    """The first neighbour, in the order of bounds, that beats `value`; None if none does."""
    bounds = value_bounds(judge.problem, near)
    limit = value if math.isfinite(value) else math.inf
    for position in np.argsort(bounds, kind="stable"):
        if not bounds[position] < limit:
            return None
        found = judge(near[position])
        if found.value < value - 1e-9:
            return near[position], found
    return None


def _types(counts: Int[np.ndarray, " T"]) -> list[int]:
    return [int(t) for t in np.repeat(np.arange(len(counts)), counts)]


def _better(first: MappedChips | None, second: MappedChips) -> MappedChips | None:
    if not second.feasible:
        return first
    return second if first is None or second.value < first.value else first


def _least(designs: Sequence[MappedChips]) -> MappedChips | None:
    best = None
    for design in designs:
        best = _better(best, design)
    return best


def _result(
    problem: HardProblem, best: MappedChips | None, considered: int, judge: Judge, num_slots: int
) -> TypeSearchResult:
    if best is None:
        raise DataError(why_nothing_fits(problem, num_slots))
    chips = tuple(problem.names[t] for t in best.types)
    return TypeSearchResult(chips, best, considered, len(judge.known))


def why_nothing_fits(problem: HardProblem, num_slots: int) -> str:
    """Which budget keeps the segments from fitting, and by how much."""
    need_mb = float(problem.weight_mb.sum() + problem.resident_mb.max())
    most_mb = float(num_slots * problem.usable_mb.max())
    if need_mb > most_mb:
        return (
            f"the segments need {need_mb:.6g} MB together; {num_slots} slots of the largest chip hold "
            f"{most_mb:.6g} MB, {need_mb - most_mb:.6g} MB too little: prune more or give more slots"
        )
    able = np.flatnonzero(problem.holds.any(axis=0))
    area, tdp = (float(values[able].min()) for values in (problem.area_mm2, problem.tdp_w))
    for key, unit, budget, least in (
        ("area_budget_mm2", "mm2", problem.area_budget_mm2, area),
        ("tdp_budget_w", "W", problem.tdp_budget_w, tdp),
    ):
        if least > budget:
            return (
                f"{key}={budget:g}: the least chip that holds a segment needs {least:g} {unit}, {least - budget:g} more"
            )
    return (
        f"no set of chips within area_budget_mm2={problem.area_budget_mm2:g} and tdp_budget_w={problem.tdp_budget_w:g} "
        f"holds the segments, which need {need_mb:.6g} MB; raise a budget or prune more"
    )
