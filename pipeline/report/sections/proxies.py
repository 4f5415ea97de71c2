"""Phase 0: how well the proxies predict layers, devices they never saw, and power."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...artifacts import read_json, read_parquet
from ..blocks import Block, Figure, Notice, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..experiments_md import snakemake_command
from ..formats import labels, plural
from ..hardware_figures import coverage_chart, parity_chart, power_chart

NAME, TITLE = "proxies", "Hardware proxies"
LATENCY, POWER = "EXP-P0-1-ms-mem", "EXP-P0-2-power"
MOST_POINTS = 1500
ALL = "all"


def section(context: Context) -> Section:
    """Parity, errors by device and layer type, coverage of intervals, power against how busy a device is."""
    folder = context.results / LATENCY / "seed0"
    if not (folder / "proxy.json").is_file():
        commands = [snakemake_command(name, context.preset_name, context.needs_folder) for name in (LATENCY, POWER)]
        text = Markup("Not run: <code>{}</code> fits latency and memory, <code>{}</code> power.").format(*commands)
        return Section(NAME, TITLE, (Prose(text),))
    notes = read_json(folder / "proxy.json")["notes"]
    shapes = read_parquet(folder / "shapes.parquet")
    blocks: list[Block] = [_introduction(notes, shapes), _shape_table(shapes)]
    if (folder / "left_out.parquet").is_file():
        blocks += _left_out(folder)
    else:
        text = Markup("With one measured device, transfer to a device that was never measured cannot be assessed.")
        blocks.append(Notice("note", text))
    blocks += _power(context.results / POWER / "seed0")
    return Section(NAME, TITLE, tuple(blocks))


def _introduction(notes: dict, shapes: pd.DataFrame) -> Prose:
    devices = [str(name) for name in notes["devices"]]
    table = str(notes["config"]["data"]["layer_latency"])
    origin = (
        "The table is <em>modelled</em>: it says what a roofline with fixed efficiencies says, and the proxy can be no "
        "better than that."
        if "/modelled/" in table
        else "The table is measured."
    )
    overall = shapes[shapes["layer_type"] == ALL].iloc[0]
    text = Markup(
        "Fitted on <code>{}</code>: {} ({}). {} On shapes that were held out, the median error is {:.1f} %."
    ).format(table, plural(len(devices), "device"), ", ".join(devices), Markup(origin), overall["median_ape"])
    return Prose(text)


def _shape_table(shapes: pd.DataFrame) -> Table:
    return Table(
        "proxy_shapes",
        "Held-out shapes of known devices",
        "A tenth of all shapes, drawn by a hash, the same on every device.",
        shapes,
        (
            text_column("layer_type", "Layer"),
            number_column("median_ape", "Median error, %", "{:.1f}"),
            number_column("mape", "Mean error, %", "{:.1f}"),
            number_column("spearman", "Rank correlation", "{:.4f}"),
        ),
    )


def _left_out(folder: Path) -> list[Block]:
    rows = read_parquet(folder / "left_out.parquet", ("device", "layer_type", "latency_ms", "proxy"))
    transfer = read_parquet(folder / "transfer.parquet", ("method", "device", "layer_type", "mape", "median_ape"))
    coverage = read_parquet(folder / "coverage.parquet", ("device", "rows", "coverage"))
    return [_parity(rows), _transfer_table(transfer), _coverage(coverage)]


def _parity(rows: pd.DataFrame) -> Figure:
    """Every left-out device as the proxy that never saw it predicts it; a sample where there are many rows."""
    shown = rows.sample(MOST_POINTS, random_state=0) if len(rows) > MOST_POINTS else rows
    shown = pd.DataFrame(
        {
            "kind": shown["layer_type"].astype(str),
            "measured": shown["latency_ms"].astype(float),
            "predicted": np.exp(shown["proxy"].astype(float)),
            "device": shown["device"].astype(str),
        }
    ).reset_index(drop=True)
    shown["label"] = labels(shown, "{kind} on {device}: {measured:.3g} ms, predicted {predicted:.3g} ms")
    error = 100.0 * (shown["predicted"] / shown["measured"] - 1.0).abs()
    description = f"Predicted against given latency of {plural(len(shown), 'row')} on devices that the fit never saw. "
    return Figure(
        "proxy_parity",
        "Devices that were left out",
        f"Each device predicted by a fit on all others; median error {error.median():.1f} %.",
        description + f"Median error {error.median():.1f} %.",
        parity_chart(shown, description, measured="latency in the table"),
        shown.drop(columns="label"),
        (
            text_column("device", "Device"),
            text_column("kind", "Layer"),
            number_column("measured", "In the table, ms"),
            number_column("predicted", "Predicted, ms"),
        ),
    )


def _transfer_table(transfer: pd.DataFrame) -> Table:
    return Table(
        "proxy_transfer",
        "Errors on left-out devices",
        "By method, device and layer type; the calibrated method saw a few rows of the device.",
        transfer,
        (
            text_column("method", "Method"),
            text_column("device", "Device"),
            text_column("layer_type", "Layer"),
            number_column("median_ape", "Median error, %", "{:.1f}"),
            number_column("mape", "Mean error, %", "{:.1f}"),
            number_column("spearman", "Rank correlation", "{:.3f}"),
        ),
        filterable=True,
        hide_rows=lambda row: row["layer_type"] != ALL,
        hide_label="Devices only",
    )


def _coverage(coverage: pd.DataFrame) -> Figure:
    shown = coverage.assign(percent=100.0 * coverage["coverage"])
    shown["label"] = labels(shown, "{device}: {percent:.0f} % of {rows} rows inside")
    pooled = float((coverage["coverage"] * coverage["rows"]).sum() / max(1, coverage["rows"].sum()))
    description = f"Share of rows inside 90 % intervals, by left-out device. Pooled {100 * pooled:.0f} %. "
    description += "; ".join(shown["label"])
    return Figure(
        "proxy_coverage",
        "Do the intervals hold?",
        f"Share of each left-out device's rows inside intervals of 90 % that the other devices gave; pooled "
        f"{100 * pooled:.0f} %.",
        description,
        coverage_chart(shown, 90.0, description),
        shown.drop(columns="label"),
        (
            text_column("device", "Device"),
            number_column("rows", "Rows", "{:,.0f}"),
            number_column("percent", "Inside, %", "{:.1f}"),
        ),
    )


def _power(folder: Path) -> list[Block]:
    if not (folder / "models.parquet").is_file():
        text = Markup(
            "Power: no measured models were given (<code>model_energy</code>, <code>model_kernels</code>), so the "
            "formula keeps its round numbers and nothing is claimed about its error."
        )
        return [Prose(text)]
    models = read_parquet(folder / "models.parquet")
    rejected = read_parquet(folder / "rejected.parquet")
    return [_power_figure(models), _rejected_table(rejected)]


def _power_figure(models: pd.DataFrame) -> Figure:
    predicted = "power_w_unseen_workload" if "power_w_unseen_workload" in models else "power_w_fit"
    shown = pd.DataFrame(
        {
            "device": models["device"].astype(str),
            "busy": models["flops_tensor"] / models["latency_ms"] * 1e-9,
            "measured": models["power_w"].astype(float),
            "predicted": models[predicted].astype(float),
        }
    ).dropna()
    error = 100.0 * (shown["predicted"] / shown["measured"] - 1.0).abs()
    shown["label"] = labels(shown, "{device}: {busy:.1f} TFLOP/s, {measured:.0f} W, predicted {predicted:.0f} W")
    description = f"Mean power of {plural(len(shown), 'measured model')} against how busy they keep the device. "
    return Figure(
        "proxy_power",
        "Power and how busy a device is",
        f"Measured (filled) and predicted at predicted latency (open); median error {error.median():.1f} %.",
        description,
        power_chart(shown, description),
        shown.drop(columns="label"),
        (
            text_column("device", "Device"),
            number_column("busy", "TFLOP/s", "{:.1f}"),
            number_column("measured", "Measured, W", "{:.0f}"),
            number_column("predicted", "Predicted, W", "{:.0f}"),
        ),
    )


def _rejected_table(rejected: pd.DataFrame) -> Table:
    described = [name for name in ("device", "model", "prec", "batch", "seq") if name in rejected]
    measured = {"latency_ms": "Latency, ms", "power_w": "Mean power, W"}
    columns = [
        *(text_column(name, name.capitalize()) for name in described),
        *(number_column(name, title) for name, title in measured.items() if name in rejected),
        text_column("reason", "Reason"),
    ]
    return Table(
        "proxy_rejected",
        f"Measured models that cannot be true ({len(rejected)})",
        "Left out of the fit of power, and why.",
        rejected[[*described, *(name for name in measured if name in rejected), "reason"]],
        tuple(columns),
    )
