"""Bars of the co-design loop that need trained networks: read from finished runs, named where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.figures import Figure
from pipeline.artifacts import read_parquet
from pipeline.codesign.design import Design, read_design

GRID, MAPPED, PLACED = "EXP-P2-1-fixed4-grid", "EXP-P2-2-fixed4-mapping", "EXP-P2-3-fixed4-mapping-layout"
FULL, NO_LAYOUT, NO_CHIP_PRICE = (
    "EXP-P3-1-full-vc",
    "EXP-P3-2-full-vc-no-layout",
    "EXP-P3-3-full-vc-no-chip-regularizer",
)
START = "EXP-P1V-3-ast-no-hw"
# Of the group `ablation_version_c`: the same chips and FLOPs, gates learned with the hardware loss and without.
MIX, MIX_NO_GATES = f"{FULL}__mix", f"{FULL}__mix-no-gates"


def trained_figures(results: Path) -> list[Figure]:
    """What finished runs under `results` say; every experiment without one is printed as such."""
    present = {name for name in (GRID, MAPPED, PLACED, FULL, NO_LAYOUT, NO_CHIP_PRICE) if any(_designs(results, name))}
    for name in (GRID, MAPPED, PLACED, FULL, NO_LAYOUT, NO_CHIP_PRICE):
        if name not in present:
            print(f"{name}: no finished run under {results}; snakemake {name} makes it")
    figures = []
    if {GRID, MAPPED} <= present:
        lower = _lower(results, MAPPED, GRID, lambda design: design.costs.period_ms)
        figures.append(Figure("runs: P2-2 below P2-1, predicted period", lower, "%", 15.0, "higher"))
    if {MAPPED, PLACED} <= present:
        lower = _lower(results, PLACED, MAPPED, lambda design: design.costs.wire_mb_mm)
        figures.append(Figure("runs: P2-3 below P2-2, wire length", lower, "%", 0.0, "higher"))
        for what in ("period_ms", "energy_j"):
            change = -_lower(results, PLACED, MAPPED, lambda design, what=what: getattr(design.costs, what))
            print(f"runs: P2-3 against P2-2, {what}: {change:+.2f} %")
    if all(any(_designs(results, name)) for name in (MIX, MIX_NO_GATES)):
        lower = _lower(results, MIX, MIX_NO_GATES, lambda design: design.costs.edp_j_ms)
        figures.append(Figure("runs: joint gates and mapping, EDP below gates alone", lower, "%", 3.0, "higher"))
    else:
        print(f"{MIX}, {MIX_NO_GATES}: no finished run under {results}; snakemake ablation_version_c makes them")
    for name in sorted(present & {FULL, NO_LAYOUT, NO_CHIP_PRICE}):
        figures += _rival_figures(results, name)
    if FULL in present:
        figures += _accuracy_figures(results)
    return figures


def _designs(results: Path, name: str) -> Iterator[tuple[Path, Design]]:
    for path in sorted((results / name).glob("seed*/design.json")):
        yield path.parent, read_design(path)


def _lower(results: Path, new: str, old: str, figure: object) -> float:
    """How much lower the mean over seeds is, per cent."""
    assert callable(figure)
    means = [float(np.mean([figure(design) for _, design in _designs(results, name)])) for name in (new, old)]
    return 100.0 * (1.0 - means[0] / means[1])


def _rival_figures(results: Path, name: str) -> list[Figure]:
    """The run's design against what else could be built for its gates, each judged as it was searched."""
    below, excess, gates, gaps = [], [], [], []
    for folder, design in _designs(results, name):
        rivals = read_parquet(folder / "rivals.parquet")

        def best(kind: str, judged_by: str, gates: str = "final", rivals: pd.DataFrame = rivals) -> pd.Series | None:
            rows = rivals[(rivals.design == kind) & (rivals.judged_by == judged_by) & (rivals.gates == gates)]
            rows = rows[rows.library != "control"]
            return None if rows.empty else rows.iloc[0]

        alike, exact, before = best("homogeneous", "edp"), best("exact", "L_hw"), best("exact", "edp", "start")
        four, same = best("homogeneous_4", "edp"), best("exact", "edp")
        if alike is not None:
            below.append(100.0 * (1.0 - design.costs.edp_j_ms / alike.edp_j_ms))
            beside = "" if four is None else f", best four {four.chips} {four.edp_j_ms:.1f}"
            own = f"{design.costs.edp_j_ms:.1f} J ms"
            print(f"{folder}: {own}; best equal chips {alike.chips} {alike.edp_j_ms:.1f}{beside}")
        if exact is not None:
            own = rivals[rivals.design == "found"].iloc[0]
            excess.append(100.0 * math.expm1(own.value - exact.value))
        if before is not None and same is not None:
            gates.append(100.0 * (1.0 - same.edp_j_ms / before.edp_j_ms))
        gaps += _metric(folder, "soft_hard_gap")
    short = name.removeprefix("EXP-")[:4]
    if gates:
        # The bar is of the K = 13 setting with free gates (`joint_gates`); a small trained network has few to move.
        print(f"runs: {short} EDP below that of the starting gates: {np.mean(gates):+.2f} %")
    rows = [
        (f"runs: {short} EDP below best equal chips, any count", below, np.mean, 15.0, "higher", "%"),
        (f"runs: {short} L_hw over the exact search, worst", excess, np.max, 1.0, "lower", "%"),
        (f"runs: {short} soft-hard gap at the end, worst", [100 * gap for gap in gaps], np.max, 2.0, "lower", "%"),
    ]
    return [
        Figure(what, float(join(values)), unit, bar, better) for what, values, join, bar, better, unit in rows if values
    ]


def _metric(folder: Path, metric: str) -> list[float]:
    table = read_parquet(folder / "metrics.parquet")
    return [float(value) for value in table.loc[table.metric == metric, "value"]]


def _accuracy_figures(results: Path) -> list[Figure]:
    """Lower bound of the accuracy of P3-1 minus that of EXP-P1V-3, in points; printed only, but on preset bench.

    The other presets have too few test videos for a bound that says anything.
    """
    from pipeline.report.accuracy import difference
    from pipeline.report.context import read_context

    if not (results / START).exists():
        return []
    context = read_context(results)
    gap = difference(context.arm(FULL), context.arm(START))
    bounds = f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    print(f"accuracy of {FULL} against {START}: {100 * gap.mean:+.1f} points {bounds}")
    if results.name != "bench":
        return []
    return [Figure("runs: P3-1 accuracy minus P1V-3, lower bound", 100 * gap.low, "points", -2.0, "higher")]
