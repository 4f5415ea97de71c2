"""What each rule of the workflow cost: wall and CPU time and memory, from Snakemake's benchmarks."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from ..blocks import Block, Figure, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..figures import cost_chart
from ..formats import duration, labels, plural


def section(context: Context) -> Section:
    """The cost table, the figure of wall times, and the totals."""
    if context.benchmarks.empty:
        text = Markup("Not measured: no <code>benchmark.jsonl</code> yet. Snakemake writes them as it runs the rules.")
        return Section("cost", "Cost", (Prose(text),))
    data = cost_by_rule(context.benchmarks)
    total = Markup(
        "{} took {} of wall time and {} of CPU time in all. Jobs run side by side, so the workflow itself took less."
    )
    text = total.format(
        plural(int(data["jobs"].sum()), "job"), duration(data["wall_s"].sum()), duration(data["cpu_s"].sum())
    )
    blocks: tuple[Block, ...] = (Prose(text), _figure(data), _table(data))
    return Section("cost", "Cost", blocks)


def cost_by_rule(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """Jobs, summed and largest wall time, summed CPU time and largest memory of each rule, dearest first."""
    grouped = benchmarks.groupby("rule", sort=True)
    table = pd.DataFrame(
        {
            "jobs": grouped.size(),
            "wall_s": grouped["wall_s"].sum(),
            "longest_s": grouped["wall_s"].max(),
            "cpu_s": grouped["cpu_s"].sum(),
            "peak_memory_mb": grouped["peak_memory_mb"].max(),
        }
    )
    return table.sort_values("wall_s", ascending=False, kind="stable").reset_index()


def _table(data: pd.DataFrame) -> Table:
    return Table(
        "cost",
        "Cost by rule",
        "From Snakemake's benchmark of every job; in jobs shorter than about a second it cannot see the memory. "
        "The report's own job is left out.",
        data,
        (
            text_column("rule", "Rule"),
            number_column("jobs", "Jobs", "{:,.0f}"),
            number_column("wall_s", "Wall, s", "{:,.1f}", explanation="summed over the rule's jobs"),
            number_column("longest_s", "Longest job, s", "{:,.1f}"),
            number_column("cpu_s", "CPU, s", "{:,.1f}", explanation="summed over the rule's jobs"),
            number_column("peak_memory_mb", "Peak memory, MB", "{:,.0f}", explanation="of its hungriest job, resident"),
        ),
    )


def _figure(data: pd.DataFrame) -> Figure:
    shown = data[["rule", "wall_s"]].copy()
    shown["label"] = labels(data, "{rule}: {wall_s:.1f} s, jobs: {jobs}")
    share = data["wall_s"].iloc[0] / max(data["wall_s"].sum(), 1e-9)
    description = f"Wall time by rule. {shown['label'].iloc[0]}, {100 * share:.0f} % of the total. " + "; ".join(
        shown["label"][1:]
    )
    return Figure(
        "cost_by_rule",
        "Where the time goes",
        f"Wall time of each rule, summed over its jobs; {data['rule'].iloc[0]} takes {100 * share:.0f} %.",
        description,
        cost_chart(shown, description),
        shown.drop(columns="label"),
        (text_column("rule", "Rule"), number_column("wall_s", "Wall, s", "{:,.1f}")),
    )
