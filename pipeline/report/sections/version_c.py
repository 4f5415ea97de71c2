"""Designs of several chips: what was chosen, how it came about, what each part buys, and what else could be built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...experiments import variant_of
from ..accuracy import accuracy, difference
from ..blocks import Block, Figure, Html, Notice, Picker, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..formats import labels, percent, plural, point_bounds, points
from ..statistics import Interval
from ..tables import Arm
from ..templating import render_template
from ..version_c_figures import PHASES, TERMS, alternation_chart, front_chart, parts_chart
from ..version_c_pictures import gantt_of, wafer_of
from ..version_c_runs import (
    ABLATION,
    MAIN,
    SWEEP,
    DesignRun,
    design_arms,
    members_of,
    ratio_to_main,
    read_design_run,
)

SECTION = ("version-c", "Chips, mapping and layout together")
COSTS = {"period_ms": "pipeline period, ms", "energy_j": "energy of a batch, J", "area_mm2": "chip area, mm²"}
GRID, MAPPED, MOVED = "EXP-P2-1-fixed4-grid", "EXP-P2-2-fixed4-mapping", "EXP-P2-3-fixed4-mapping-layout"


def section(context: Context) -> Section:
    """Sentences, designs, pictures, alternation, rivals, ablations, fronts; where one run is shown, the first seed."""
    arms = design_arms(context)
    if not arms:
        text = Markup(
            "Not run: <code>snakemake --cores all phase2 phase3</code> designs chips for the pruned networks."
        )
        return Section(*SECTION, (Prose(text),))
    runs = {arm.name: read_design_run(arm.runs[0]) for arm in arms}
    own = tuple(arm for arm in arms if not variant_of(arm.name))
    blocks: list[Block] = [_setting(), *_sentences(runs)]
    blocks.append(_designs(own, runs))
    if own:
        blocks += [_pictures(own, runs), _alternations(own, runs)]
    blocks += _rivals(runs)
    blocks += _parts(arms, runs)
    blocks += _fronts(arms, runs)
    return Section(*SECTION, tuple(blocks))


def _setting() -> Notice:
    return Notice(
        "note",
        Markup(
            "The setting was <strong>chosen</strong>: workload, batch, chip library, budgets and links are those of a "
            "search over about ten libraries and four batch sizes, most of which gave a mix of chips little or nothing "
            "over the best design of equal chips. A gain is a property of this setting. The control library holds one "
            "chip that leads in everything; there the best design is homogeneous and the gain must be 0."
        ),
    )


def _sentences(runs: dict[str, DesignRun]) -> list[Block]:
    """The gain over equal chips, the control, and what mapping and layout do to four fixed chips."""
    texts = []
    main = runs.get(MAIN)
    if main is not None and main.rival("homogeneous"):
        equal, exact = main.rival("homogeneous"), main.rival("exact")
        costs = main.design.costs
        texts.append(
            Markup(
                "{}: energy–delay product <strong>{}</strong> that of the best design of equal chips of any number "
                "({}, same gates and budgets); the exact search over sets of chips finds {} at {} of it."
            ).format(
                _short(MAIN),
                _relative(costs.edp_j_ms, equal["edp_j_ms"]),
                equal["chips"],
                exact["chips"],
                _relative(exact["edp_j_ms"], equal["edp_j_ms"]),
            )
        )
        control, leader = main.rival("exact", library="control"), main.rival("homogeneous", library="control")
        if control and leader:
            gain = 1.0 - control["edp_j_ms"] / leader["edp_j_ms"]
            texts.append(
                Markup("Control library: the exact search finds {}, equal chips {}; gain <strong>{}</strong>.").format(
                    control["chips"], leader["chips"], percent(gain)
                )
            )
    texts += _phase2_sentences(runs)
    return [Prose(text) for text in texts]


def _phase2_sentences(runs: dict[str, DesignRun]) -> list[Markup]:
    if GRID not in runs or MAPPED not in runs:
        return []
    dealt, mapped = runs[GRID].design.costs, runs[MAPPED].design.costs
    texts = [
        Markup(
            "Four fixed chips, mapping searched instead of dealt out: period <strong>{}</strong>, energy {}."
        ).format(_change(mapped.period_ms, dealt.period_ms), _change(mapped.energy_j, dealt.energy_j))
    ]
    if MOVED in runs:
        moved = runs[MOVED].design.costs
        texts.append(
            Markup("Positions moved too: wires <strong>{}</strong>, period {}, energy {}, {}.").format(
                _change(moved.wire_mb_mm, mapped.wire_mb_mm),
                _change(moved.period_ms, mapped.period_ms),
                _change(moved.energy_j, mapped.energy_j),
                "legal" if moved.legal else "NOT legal",
            )
        )
    return texts


def _relative(value: float, reference: float) -> str:
    return percent(value / reference)


def _change(value: float, reference: float) -> str:
    return f"{points(value / reference - 1.0)}\N{NO-BREAK SPACE}%"


def _short(name: str) -> str:
    return variant_of(name) or name.removeprefix("EXP-")


def _counted(chips: list[str]) -> str:
    numbers = {name: chips.count(name) for name in sorted(set(chips))}
    return " + ".join(name if number == 1 else f"{number} {name}" for name, number in numbers.items())


def _figures(arm: Arm, run: DesignRun) -> dict[str, Any]:
    costs, interval = run.design.costs, run.design.notes.get("latency_interval", {})
    shown = accuracy(arm) or Interval(np.nan, np.nan, np.nan)
    exact, equal, four = (run.rival(name) for name in ("exact", "homogeneous", "homogeneous_4"))
    return {
        "experiment": _short(arm.name),
        "accuracy": 100.0 * shown.mean,
        "accuracy_low": 100.0 * shown.low,
        "accuracy_high": 100.0 * shown.high,
        "chips": _counted(run.design.chosen),
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


def _designs(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> Table:
    data = pd.DataFrame([_figures(arm, runs[arm.name]) for arm in arms])
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


def _pictures(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> Html:
    shown = []
    for arm in sorted(arms, key=lambda arm: arm.name != MAIN):
        design = runs[arm.name].design
        gantt = gantt_of(design)
        shown.append(
            {
                "name": _short(arm.name),
                "chips": _counted(design.chosen),
                "period": f"period {design.costs.period_ms:.4g} ms",
                "gantt": None if gantt is None else Markup(gantt),
                "wafer": Markup(wafer_of(design)),
            }
        )
    return Html(render_template("version_c.html.jinja", designs=shown))


def _alternations(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> Picker:
    ordered = sorted(arms, key=lambda arm: arm.name != MAIN)
    return Picker(
        "alternation", "Alternation of", tuple((_short(a.name), _alternation(a, runs[a.name])) for a in ordered)
    )


def _alternation(arm: Arm, run: DesignRun) -> Figure:
    steps = run.steps[run.steps["phase"].isin(list(PHASES))].copy()
    keys = steps[["outer", "phase", "step"]].drop_duplicates().reset_index(drop=True).reset_index(names="at")
    steps = steps.merge(keys, on=["outer", "phase", "step"])
    wide = steps.pivot_table(index=["at", "outer", "phase"], columns="term", values="value").reset_index()
    losses = wide[["at", "outer", "phase"]].assign(relaxed=wide["L_hw"], hardened=wide["L_hw_hardened"])
    losses["phase"] = losses["phase"].map(PHASES)
    losses["label"] = labels(losses, "outer {outer}, {phase}: hardened {hardened:.4f}, this step's {relaxed:.4f}")
    told = [name for name in TERMS if name in wide.columns]
    terms = wide[wide["phase"] != "B"].melt(["at"], told, "term", "value").dropna()
    terms["term"] = terms["term"].map(TERMS)
    begins = keys.groupby("outer")["at"].min().tolist()
    first, last = losses["hardened"].iloc[0], losses["hardened"].iloc[-1]
    name = _short(arm.name)
    description = f"Loss over the alternation, {name}: hardened L_hw from {first:.4f} to {last:.4f}."
    return Figure(
        f"alternation-{name}",
        f"Loss over the alternation, {name}",
        "Hardened: the design that is held, priced for the network of that step; it only falls in C and D. In D the "
        "gradient moves chips through each other, and what counts is where they end. Relaxed: a fresh Gumbel sample of "
        "the chip logits at every step of B, with growing penalties, so its level is its own.",
        description,
        alternation_chart(losses, terms, begins, description),
        losses.drop(columns="label"),
        (
            number_column("at", "Step", "{:.0f}"),
            number_column("outer", "Outer iteration", "{:.0f}"),
            text_column("phase", "Phase"),
            number_column("relaxed", "L_hw of the step"),
            number_column("hardened", "L_hw hardened"),
        ),
    )


def _rivals(runs: dict[str, DesignRun]) -> list[Block]:
    tables = [
        run.rivals.assign(experiment=_short(name))
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
            data[[*("experiment", "design", "library", "gates", "judged_by", "chips"), *_RIVAL_NUMBERS]],
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


_RIVAL_NUMBERS = ("latency_ms", "energy_j", "edp_j_ms", "value", "area_mm2", "tdp_w", "sets", "mapped")


def _parts(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> list[Block]:
    """What each part buys: every variant against the whole; nothing before the group was run."""
    main = next((arm for arm in arms if arm.name == MAIN), None)
    others = [arm for arm in members_of(ABLATION, arms) if arm.name != MAIN]
    if main is None or not any(variant_of(arm.name) for arm in others):
        text = Markup("What each part buys: not run; <code>snakemake --cores all {}</code>.").format(ABLATION)
        return [Prose(text)]
    data = pd.DataFrame([_part(arm, main, runs[arm.name]) for arm in others])
    shown = data.dropna(subset=["percent"]).reset_index(drop=True)
    shown["label"] = labels(shown, "{variant}: {percent:+.1f} % of the whole's energy-delay product")
    description = "Energy-delay product of each variant over that of the whole. " + "; ".join(shown["label"])
    seeds = len(main.runs)
    bounds = "Bars are 95 % bounds over seeds." if seeds > 1 else "One seed: no bounds."
    return [
        Figure(
            "version_c_parts",
            "What each part buys",
            f"Right of the dashed line the variant is worse than the whole ({_short(MAIN)}). {bounds}",
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
        )
    ]


def _part(arm: Arm, main: Arm, run: DesignRun) -> dict[str, Any]:
    ratio = ratio_to_main(arm, main, "energy_delay_product")
    gap = difference(arm, main)
    figures = _figures(arm, run)
    more = Interval(np.nan, np.nan, np.nan) if ratio is None else ratio
    return {
        "variant": _short(arm.name),
        "title": arm.title,
        "percent": 100.0 * (more.mean - 1.0),
        "low": 100.0 * (more.low - 1.0),
        "high": 100.0 * (more.high - 1.0),
        "accuracy": f"{points(gap.mean)} ({point_bounds(gap)})" if isinstance(gap, Interval) else gap,
        **{name: figures[name] for name in ("chips", "latency_ms", "energy_j", "over_equal")},
    }


def _fronts(arms: tuple[Arm, ...], runs: dict[str, DesignRun]) -> list[Block]:
    """Accuracy against each cost, over the experiments and whatever of the sweep was run."""
    swept = {arm.name for arm in members_of(SWEEP, arms)}
    rows = []
    for arm in arms:
        if variant_of(arm.name) and arm.name not in swept:
            continue
        phase = "sweep" if variant_of(arm.name) else "phase 2" if "-P2-" in arm.name else "phase 3"
        rows.append({**_figures(arm, runs[arm.name]), "family": phase})
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
    return ~(no_worse & better).any(axis=0)


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
