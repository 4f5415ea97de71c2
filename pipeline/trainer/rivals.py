"""What else could be built for the same gates within the same budgets, searched exactly, and with other gates."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..codesign.design import Design
from ..codesign.hard_problem import HardProblem, hard_problem
from ..codesign.type_search import Judge, TypeSearchResult, best_homogeneous, exact_type_search
from ..config import RunConfig
from ..errors import DataError
from ..hw_proxy.chip_library import load_chip_library
from ..mapping.segments import Segment
from .codesign_steps import CodesignSteps
from .workload_segments import workload_segments

CONTROL = "control"
COLUMNS = ["design", "library", "gates", "judged_by", "chips", "latency_ms", "energy_j", "edp_j_ms", "num_chips"]
COLUMNS += ["area_mm2", "tdp_w", "value", "sets", "mapped"]


def rival_designs(cfg: RunConfig, steps: CodesignSteps, segments: list[Segment], design: Design) -> pd.DataFrame:
    """One row per design: costs of one batch with one hop between any two chips, unless it is the run's own.

    Columns: `design` (found | exact | homogeneous | homogeneous_4 | one_chip), `library`, `gates` (final, or start:
    those the run began with), `judged_by` (L_hw without its layout term, or edp), `chips`, costs with their units,
    `value` under what it was judged by, `sets` of chips within the budgets and how many of them were `mapped`. The
    exact search is exact over sets of chip types, not over mappings. Where nothing fits a row is left out. In the
    control library one chip leads in everything.
    """
    rows = [_own(cfg, steps, design)]
    start = workload_segments(cfg.hw, steps.start)
    wanted = [(cfg.hw.library, "final", segments, "L_hw"), (cfg.hw.library, "final", segments, "edp")]
    if cfg.chips.fixed is None:
        wanted += [(cfg.hw.library, "start", start, "edp"), (CONTROL, "final", segments, "edp")]
    for library, gates, used, judged_by in wanted:
        problem = _problem(cfg, steps, library, used)
        if problem is None:
            continue
        judged = problem if judged_by == "L_hw" else problem.energy_delay()
        rows += [
            _row(name, library, gates, judged_by, judged, found)
            for name, found in _searched(judged, cfg.chips.num_slots).items()
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _problem(cfg: RunConfig, steps: CodesignSteps, library: str, segments: list[Segment]) -> HardProblem | None:
    chip_types = steps.slots.chip_types if cfg.chips.fixed is not None else load_chip_library().select(library)
    try:
        return hard_problem(segments, chip_types, steps.proxy, steps.loss_cfg, steps.reference)
    except DataError:
        return None


def _searched(problem: HardProblem, num_slots: int) -> dict[str, TypeSearchResult]:
    """The exact optimum and its homogeneous rivals; those for which nothing fits are left out."""
    judge = Judge(problem)
    searches: dict[str, Any] = {
        "exact": lambda: exact_type_search(problem, num_slots, judge=judge),
        "homogeneous": lambda: best_homogeneous(problem, num_slots, judge=judge),
        "homogeneous_4": lambda: best_homogeneous(problem, num_slots, count=4, judge=judge),
        "one_chip": lambda: best_homogeneous(problem, num_slots, count=1, judge=judge),
    }
    found = {}
    for name, search in searches.items():
        try:
            found[name] = search()
        except DataError:
            continue
    return found


def _row(
    name: str, library: str, gates: str, judged_by: str, problem: HardProblem, found: TypeSearchResult
) -> dict[str, Any]:
    costs = found.best.costs
    assert costs is not None
    types = list(found.best.types)
    return {
        "design": name,
        "library": library,
        "gates": gates,
        "judged_by": judged_by,
        "chips": _counted(found.chips),
        "latency_ms": costs.latency_ms,
        "energy_j": costs.energy_j,
        "edp_j_ms": costs.edp_j_ms,
        "num_chips": len(types),
        "area_mm2": float(problem.area_mm2[types].sum()),
        "tdp_w": float(problem.tdp_w[types].sum()),
        "value": found.value,
        "sets": found.considered,
        "mapped": found.mapped,
    }


def _own(cfg: RunConfig, steps: CodesignSteps, design: Design) -> dict[str, Any]:
    costs = design.costs
    return {
        "design": "found",
        "library": cfg.hw.library,
        "gates": "final",
        "judged_by": "L_hw",
        "chips": _counted(tuple(design.chosen)),
        "latency_ms": costs.latency_ms,
        "energy_j": costs.energy_j,
        "edp_j_ms": costs.edp_j_ms,
        "num_chips": costs.num_chips,
        "area_mm2": costs.area_mm2,
        "tdp_w": costs.tdp_w,
        "value": design.notes["L_hw_without_layout"],
        "sets": 1,
        "mapped": 1,
    }


def _counted(chips: tuple[str, ...]) -> str:
    """`d1 + a100 + 3 l4`, in the order of the alphabet."""
    parts = []
    for name in sorted(set(chips)):
        number = chips.count(name)
        parts.append(name if number == 1 else f"{number} {name}")
    return " + ".join(parts)
