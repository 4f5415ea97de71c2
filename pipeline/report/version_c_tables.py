"""The tables of co-design: finished designs, and what else could be built for the same gates and budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..experiments import variant_of
from .accuracy import accuracy
from .blocks import Block, Table, number_column, text_column
from .statistics import Interval
from .tables import Arm
from .version_c_runs import DesignRun

RIVAL_NUMBERS = ("latency_ms", "energy_j", "edp_j_ms", "value", "area_mm2", "tdp_w", "sets", "mapped")


def short_name(name: str) -> str:
    """A variant's own name, or the ID without its prefix."""
    return variant_of(name) or name.removeprefix("EXP-")


def counted(chips: list[str]) -> str:
    """`2 a100 + d1`."""
    numbers = {name: chips.count(name) for name in sorted(set(chips))}
    return " + ".join(name if number == 1 else f"{number} {name}" for name, number in numbers.items())


def design_row(arm: Arm, run: DesignRun) -> dict[str, Any]:
    """What the page tells of a design: figures with their units in the names, differences in percent."""
    costs, interval = run.design.costs, run.design.notes.get("latency_interval", {})
    shown = accuracy(arm) or Interval(np.nan, np.nan, np.nan)
    exact, equal, four = (run.rival(name) for name in ("exact", "homogeneous", "homogeneous_4"))
    return {
        "experiment": short_name(arm.name),
        "accuracy": 100.0 * shown.mean,
        "accuracy_low": 100.0 * shown.low,
        "accuracy_high": 100.0 * shown.high,
        "chips": counted(run.design.chosen),
        "latency_ms": costs.latency_ms,
        "low_ms": interval.get("low_ms", np.nan),
        "high_ms": interval.get("high_ms", np.nan),
        "period_ms": costs.period_ms,
        "serial_ms": costs.serial_ms,
        "energy_j": costs.energy_j,
        "edp_j_ms": costs.edp_j_ms,
        "over_exact": 100.0 * (costs.edp_j_ms / exact["edp_j_ms"] - 1.0) if exact else np.nan,
        "over_equal": 100.0 * (costs.edp_j_ms / equal["edp_j_ms"] - 1.0) if equal else np.nan,
        "over_four": 100.0 * (costs.edp_j_ms / four["edp_j_ms"] - 1.0) if four else np.nan,
        "area_mm2": costs.area_mm2,
        "tdp_w": costs.tdp_w,
        "wire_mb_mm": costs.wire_mb_mm,
        "t_peak_c": costs.t_peak_c,
        "legal": "yes" if costs.legal else "NO",
        "gap": 100.0 * _metric(run, "soft_hard_gap"),
        "flops": 100.0 * (_metric(run, "flops_over_budget") - 1.0),
        "proved": 100.0 * _mapping_gap(run),
    }


def _metric(run: DesignRun, name: str) -> float:
    rows = run.run.metrics.query("metric == @name and split == 'all'")["value"]
    return float(rows.iloc[0]) if len(rows) else float("nan")


def _mapping_gap(run: DesignRun) -> float:
    certificate = run.design.notes.get("mapping_certificate", {})
    bound = certificate.get("lower_bound_ms", 0.0)
    return run.design.costs.latency_ms / bound - 1.0 if bound > 0.0 else float("nan")


def designs_table(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> Table:
    """One row per design."""
    data = pd.DataFrame([design_row(arm, runs[arm.name]) for arm in arms])
    return Table(
        "version_c_designs",
        "Finished designs",
        "Of one batch of the deployment workload, first seed. The interval is the fitted proxy's on every kernel, "
        "all at one end together. Equal chips and the exact search have the same gates and budgets, and one hop "
        "between any two chips. The mapping's distance to its proved bound is that of the latency alone.",
        data,
        (
            text_column("experiment", "Design"),
            number_column("accuracy", "Accuracy, %", "{:.1f}"),
            text_column("chips", "Chips"),
            number_column("period_ms", "Period, ms"),
            number_column("serial_ms", "One batch alone, ms"),
            number_column("low_ms", "Latency, from"),
            number_column("high_ms", "to, ms"),
            number_column("energy_j", "Energy, J"),
            number_column("edp_j_ms", "Energy × delay, J·ms"),
            number_column("over_equal", "over equal chips, %", "{:+.1f}"),
            number_column("over_four", "over four equal, %", "{:+.1f}"),
            number_column("over_exact", "over exact search, %", "{:+.1f}"),
            number_column("proved", "Mapping over its bound, %", "{:.1f}"),
            number_column("gap", "Soft to hard, %", "{:.2f}"),
            number_column("flops", "FLOPs over budget, %", "{:+.2f}"),
            number_column("area_mm2", "Area, mm²", "{:,.0f}"),
            number_column("tdp_w", "Power limit, W", "{:,.0f}"),
            number_column("wire_mb_mm", "Wires, MB·mm", "{:,.0f}"),
            number_column("t_peak_c", "Peak, °C (proxy)", "{:.1f}"),
            text_column("legal", "Legal"),
        ),
    )


def rivals_tables(runs: dict[str, DesignRun]) -> list[Block]:
    """The rivals of every run that chose its chips; nothing where none did."""
    tables = [
        run.rivals.assign(experiment=short_name(name))
        for name, run in runs.items()
        if not variant_of(name) and run.run.config.training.mode == "version_c_full"
    ]
    if not tables:
        return []
    data = pd.concat(tables, ignore_index=True)
    names = {
        "found": "found by the run",
        "exact": "exact search over chip types",
        "homogeneous": "equal chips, any number",
        "homogeneous_4": "four equal chips",
        "one_chip": "everything on one chip",
    }
    data["design"] = data["design"].map(names)
    data["gates"] = data["gates"].map({"final": "this run's", "start": "without hardware"})
    return [
        Table(
            "version_c_rivals",
            "What else could be built",
            "Searched exactly over all sets of chips within the budgets (mappings inside are annealed), one hop "
            "between any two chips; the run's own design has its real hops. Judged by the run's loss without its "
            "layout term, or by the energy–delay product alone. Gates without hardware are those the run started "
            "from, of as many FLOPs.",
            data[[*("experiment", "design", "library", "gates", "judged_by", "chips"), *RIVAL_NUMBERS]],
            (
                text_column("experiment", "Run"),
                text_column("design", "Design"),
                text_column("library", "Library"),
                text_column("gates", "Gates"),
                text_column("judged_by", "Judged by"),
                text_column("chips", "Chips"),
                number_column("latency_ms", "Latency, ms"),
                number_column("energy_j", "Energy, J"),
                number_column("edp_j_ms", "Energy × delay, J·ms"),
                number_column("value", "Value", "{:.4f}"),
                number_column("area_mm2", "Area, mm²", "{:,.0f}"),
                number_column("tdp_w", "Power limit, W", "{:,.0f}"),
                number_column("sets", "Sets", "{:,.0f}"),
                number_column("mapped", "mapped", "{:,.0f}"),
            ),
            filterable=True,
        )
    ]
