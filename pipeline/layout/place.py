"""Place chips: the one call an architect needs, and its result.

The work is a number of moves set by the number of chips and the time limit (or given outright), up to half more where
overlap is stubborn, so the same instance, seed, limit and options give the same layout. The clock only shortens a
search that the machine is too slow for; the result says so (`hurried`) and is then not repeatable.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .anneal import run
from .anneal_arrays import problem_of, state_of
from .instance import LayoutInstance, check_fits
from .objective import LayoutScore, score
from .search import Budget, search

_MOVE_US = 1.2
_MOVE_US_PER_CHIP = 0.02
_SHARE_OF_LIMIT = 0.4
_USEFUL_MOVES_PER_CHIP_AND_S = 15_000


@dataclass(frozen=True)
class LayoutResult:
    """A legal layout: centres [n, 2] mm, which chips are turned by 90 degrees [n], its score and what it took."""

    pos_mm: np.ndarray
    rotated: np.ndarray
    score: LayoutScore
    seed: int
    iterations: int
    seconds: float
    seconds_startup: float
    hurried: bool

    def record(self) -> dict[str, Any]:
        """What the command writes as JSON."""
        return {
            "pos_mm": self.pos_mm.tolist(),
            "legal": self.score.legal,
            "J": self.score.cost,
            "wl_mm": self.score.wl_mm,
            "heat_c": self.score.heat_c,
            "t_peak_c": self.score.t_peak_c,
            "overlap_mm2": self.score.overlap_mm2,
            "outside_mm": self.score.outside_mm,
            "rotated": self.rotated.tolist(),
            "seed": self.seed,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "seconds_startup": self.seconds_startup,
            "hurried": self.hurried,
        }


def moves_within(num_chips: int, time_limit_s: float) -> int:
    """Moves that take about 40 % of `time_limit_s` on a core of the 2020s: the repeatable size of the search."""
    by_time = _SHARE_OF_LIMIT * time_limit_s * 1e6 / (_MOVE_US + _MOVE_US_PER_CHIP * num_chips)
    return max(1000, int(min(by_time, _USEFUL_MOVES_PER_CHIP_AND_S * num_chips * time_limit_s)))


def place_chips(
    instance: LayoutInstance,
    time_limit_s: float = 10.0,
    seed: int = 0,
    rotate: bool = False,
    *,
    iterations: int | None = None,
) -> LayoutResult:
    """Find a legal layout of low J within `time_limit_s` solver seconds (compilation is reported apart).

    Args:
        instance: what to place; `read_layout_instance` checks it.
        time_limit_s: sizes the search and, on a slow machine, shortens it.
        seed: same seed, same layout.
        rotate: allow chips to be turned by 90 degrees.
        iterations: moves to make in all, instead of those that `time_limit_s` allows for.

    Raises:
        DataError: the chips cannot fit, or no legal layout was found.
        ConfigError: a limit that is not positive, a negative seed.
    """
    if not 0 < time_limit_s < float("inf"):
        raise ConfigError(f"time limit {time_limit_s}: must be a positive number of seconds")
    if seed < 0 or (iterations is not None and iterations < 1):
        raise ConfigError(f"seed {seed}, iterations {iterations}: the seed must be 0 or more, iterations 1 or more")
    check_fits(instance, rotate=rotate)
    seconds_startup = _load_compiled(instance, rotate)
    begin = time.perf_counter()
    moves = iterations or moves_within(instance.num_chips, time_limit_s)
    budget = Budget(begin, begin + time_limit_s, moves)
    best = search(instance, moves, seed, rotate, budget)
    if not np.isfinite(best.cost):
        raise DataError(_not_found(instance))
    rotated = ~np.isclose(best.rows[2], instance.w_mm / 2)
    placed = score(instance.turned(rotated), best.pos_mm)
    if not placed.legal:
        raise RuntimeError(f"{instance.name}: the search returned an illegal layout: {placed}")
    return LayoutResult(
        pos_mm=best.pos_mm,
        rotated=rotated,
        score=placed,
        seed=seed,
        iterations=budget.done,
        seconds=time.perf_counter() - begin,
        seconds_startup=seconds_startup,
        hurried=budget.hurried,
    )


def _load_compiled(instance: LayoutInstance, rotate: bool) -> float:
    """Seconds to compile the search or load it from numba's disk cache."""
    begin = time.perf_counter()
    state = state_of(instance, np.zeros((instance.num_chips, 2)))
    rows = np.zeros((4, instance.num_chips))
    run(problem_of(instance, rotate=rotate), state, 1, 1.0, 1.0, 1.0, 1.0, 0, 1.0, rows, np.inf)
    return time.perf_counter() - begin


def _not_found(instance: LayoutInstance) -> str:
    area_mm2 = float((instance.w_mm * instance.h_mm).sum())
    return (
        f"{instance.name}: no legal layout found: {instance.num_chips} chips of {area_mm2:.0f} mm2 with a gap of "
        f"{instance.gap_mm:g} mm in a {instance.region}; enlarge the region, narrow the gap, allow rotation or "
        "give more time"
    )
