"""Designs against each other: what each part buys, and fronts of accuracy and cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ..experiments import variant_of
from .accuracy import difference
from .blocks import Block, Figure, Picker, Prose, number_column, text_column
from .formats import labels, plural, point_bounds, points
from .statistics import Interval
from .tables import Arm
from .version_c_figures import front_chart, parts_chart
from .version_c_runs import ABLATION, MAIN, SWEEP, DesignRun, members_of, ratio_to_main
from .version_c_tables import design_row, short_name

COSTS = {"period_ms": "pipeline period, ms", "energy_j": "energy of a batch, J", "area_mm2": "chip area, mm²"}


def parts_blocks(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> list[Block]:
    """What each part buys: every variant against the whole; nothing before the group was run."""
    main = next((arm for arm in arms if arm.name == MAIN), None)
    others = [arm for arm in members_of(ABLATION, arms) if arm.name != MAIN]
    if main is None or not any(variant_of(arm.name) for arm in others):
        text = Markup("What each part buys: not run; <code>snakemake --cores all {}</code>.").format(ABLATION)
        return [Prose(text)]
    data = pd.DataFrame([_part(arm, main, runs[arm.name]) for arm in others])
    alike = np.array([_setting(runs[arm.name]) == _setting(runs[MAIN]) for arm in others])
    shown = data[alike].dropna(subset=["percent"]).reset_index(drop=True)
    shown["label"] = labels(shown, "{variant}: {percent:+.1f} % of the whole's energy-delay product")
    description = "Energy-delay product of each variant over that of the whole. " + "; ".join(shown["label"])
    seeds = len(main.runs)
    bounds = "Bars are 95 % bounds over seeds." if seeds > 1 else "One seed: no bounds."
    return [
        Figure(
            "version_c_parts",
            "What each part buys",
            f"Right of the dashed line the variant is worse than the whole ({short_name(MAIN)}). {bounds}",
            description,
            parts_chart(shown, description),
            data,
            (
                text_column("variant", "Variant"),
                text_column("title", "What it is"),
                number_column("percent", "Energy × delay, % more", "{:+.1f}"),
                number_column("low", "from", "{:+.1f}"),
                number_column("high", "to", "{:+.1f}"),
                text_column("accuracy", "Accuracy, points more"),
                text_column("chips", "Chips"),
                number_column("latency_ms", "Latency, ms"),
                number_column("energy_j", "Energy, J"),
                number_column("over_equal", "over equal chips, %", "{:+.1f}"),
            ),
        ),
        *_other_settings(data[~alike]),
    ]


def _setting(run: DesignRun) -> tuple[str, str]:
    """What must be the same for two designs' costs to compare: whose latency counts, and the chips to choose from."""
    return run.design.objective, run.run.config.hw.library


def _other_settings(data: pd.DataFrame) -> list[Block]:
    if data.empty:
        return []
    rows = (
        f"{row['variant']} ({row['title']}) {row['latency_ms']:,.4g} ms, {row['energy_j']:,.4g} J"
        for row in data.to_dict("records")
    )
    return [Prose(Markup("In settings of their own, to compare with each other: {}.").format("; ".join(rows)))]


def _part(arm: Arm, main: Arm, run: DesignRun) -> dict[str, Any]:
    ratio = ratio_to_main(arm, main, "energy_delay_product")
    gap = difference(arm, main)
    figures = design_row(arm, run)
    more = Interval(np.nan, np.nan, np.nan) if ratio is None else ratio
    return {
        "variant": short_name(arm.name),
        "title": arm.title,
        "percent": 100.0 * (more.mean - 1.0),
        "low": 100.0 * (more.low - 1.0),
        "high": 100.0 * (more.high - 1.0),
        "accuracy": f"{points(gap.mean)} ({point_bounds(gap)})" if isinstance(gap, Interval) else gap,
        **{name: figures[name] for name in ("chips", "latency_ms", "energy_j", "over_equal")},
    }


def front_blocks(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> list[Block]:
    """Accuracy against each cost, over the experiments and whatever of the sweep was run."""
    swept = {arm.name for arm in members_of(SWEEP, arms)}
    rows = []
    for arm in arms:
        if variant_of(arm.name) and arm.name not in swept:
            continue
        phase = "sweep" if variant_of(arm.name) else "phase 2" if "-P2-" in arm.name else "phase 3"
        rows.append({**design_row(arm, runs[arm.name]), "family": phase})
    data = pd.DataFrame(rows)
    data = data[data["accuracy"].notna()].reset_index(drop=True)
    if len(data) < 2:
        return []
    data["everywhere"] = unbeaten(data[["accuracy"]].to_numpy(float), data[list(COSTS)].to_numpy(float))
    options = tuple((title, _front(data, cost, title)) for cost, title in COSTS.items())
    names = ", ".join(data[data["everywhere"]]["experiment"])
    asked = (
        ""
        if any(data["family"] == "sweep")
        else Markup(" More designs: <code>snakemake --cores all {}</code>.").format(SWEEP)
    )
    text = Markup("No other design beats these in accuracy, period, energy and area at once: {}.{}").format(
        names, asked
    )
    return [Picker("version_c_front", "Accuracy against", options), Prose(text)]


def unbeaten(gains: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Which rows no other row beats: as good in every column and better in one."""
    figures = np.concatenate([-gains, costs], axis=1)
    no_worse = (figures[:, None] <= figures[None]).all(axis=2)
    better = (figures[:, None] < figures[None]).any(axis=2)
    return np.logical_not((no_worse & better).any(axis=0))


def _front(data: pd.DataFrame, cost: str, title: str) -> Figure:
    shown = data[["experiment", "family", "accuracy", cost]].sort_values(cost).reset_index(drop=True)
    shown["on_front"] = unbeaten(shown[["accuracy"]].to_numpy(float), shown[[cost]].to_numpy(float))
    shown["label"] = labels(shown, "{experiment}: {accuracy:.1f} % right at {" + cost + ":.4g} (" + title + ")")
    description = f"Accuracy against {title} of {plural(len(shown), 'design')}. " + "; ".join(shown["label"])
    return Figure(
        f"version_c_front_{cost}",
        f"Accuracy against {title}",
        "Up and to the left is better; the dashed line joins what nothing beats in both.",
        description,
        front_chart(shown, cost, title, description),
        shown.drop(columns="label"),
        (
            text_column("experiment", "Design"),
            text_column("family", "Of"),
            number_column("accuracy", "Accuracy, %", "{:.1f}"),
            number_column(cost, title[0].upper() + title[1:]),
        ),
    )
