"""What finished networks cost: predicted on chips, predicted and measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from ...artifacts import read_json, read_parquet
from ..blocks import Block, Cell, Column, Figure, Notice, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..formats import labels, plural
from ..hardware_figures import parity_chart, relative_cost_chart

NAME, TITLE = "hardware", "Hardware"
SETTINGS = {"latency": "batch 1", "throughput": "batch 20"}
GROUPS = {
    "linear": "matrix product",
    "matmul_batched": "matrix product",
    "sdpa": "fused attention",
    "layernorm": "norm, softmax",
    "softmax": "norm, softmax",
    "elementwise": "elementwise map",
    **dict.fromkeys(("embed", "attention", "mlp", "block"), "whole layer (not calibrated on)"),
}
KNOBS = ("tokens", "heads", "channels", "blocks")
CHIP_FIGURES = ("latency_ms", "energy_j", "memory_mb", "flops")


def section(context: Context) -> Section:
    """Costs on every chip, each knob's share, this machine's parity, and the rows that were not used."""
    folder = context.results / "hardware"
    if not (folder / "predictions.parquet").is_file():
        text = Markup("Not run: <code>snakemake --cores all hardware</code> prices the finished networks.")
        return Section(NAME, TITLE, (Prose(text),))
    predictions = over_seeds(read_parquet(folder / "predictions.parquet"), ["setting", "chip"], [*CHIP_FIGURES, "fits"])
    knobs = read_parquet(folder / "knobs.parquet")
    blocks: list[Block] = [_introduction(), *_chips(predictions, knobs), _knobs(knobs), *_host(folder)]
    return Section(NAME, TITLE, tuple(blocks))


def over_seeds(table: pd.DataFrame, keys: list[str], figures: list[str]) -> pd.DataFrame:
    """Means over the seeds of each experiment; `run` is `<experiment>/seed<k>`."""
    table = table.assign(design=table["run"].str.partition("/")[0].str.removeprefix("EXP-"))
    return table.groupby(["design", *keys], sort=False, as_index=False)[figures].mean()


def _introduction() -> Prose:
    return Prose(
        Markup(
            "Costs are those of the deployment workload: a ViT-B over 16 frames of 224 px that keeps the shares of "
            "tokens, heads, channels and blocks the trained networks keep. Predictions come from a roofline with fixed "
            "efficiencies, and are <em>modelled</em>: nothing in these tables was measured on these chips. "
            "Each network runs on one chip alone; a design that does not fit would not run there."
        )
    )


def _chips(predictions: pd.DataFrame, knobs: pd.DataFrame) -> list[Block]:
    dense = knobs[knobs["knob"] == "dense"].rename(columns={"latency_ms": "dense_ms"})
    dense = dense.groupby(["setting", "chip"], as_index=False)[["dense_ms"]].mean()
    data = predictions.merge(dense, on=["setting", "chip"])
    data["percent"] = 100.0 * data["latency_ms"] / data["dense_ms"]
    data["batch"] = data["setting"].map(SETTINGS)
    blocks: list[Block] = [_relative_figure(data[data["setting"] == setting], setting) for setting in SETTINGS]
    return [*blocks, _chip_table(data)]


def _relative_figure(data: pd.DataFrame, setting: str) -> Figure:
    shown = data[["chip", "design", "latency_ms", "dense_ms", "percent"]].reset_index(drop=True)
    pattern = "{design} on {chip}: {percent:.1f} % of dense, {latency_ms:.3g} ms"
    shown["label"] = labels(shown, pattern)
    description = f"Predicted latency relative to the dense network, {SETTINGS[setting]}. " + "; ".join(shown["label"])
    return Figure(
        f"hardware_{setting}",
        f"Latency on each chip, {SETTINGS[setting]}",
        f"Predicted latency of the pruned networks, in percent of the dense network's on the same chip; "
        f"{SETTINGS[setting]} of the deployment workload.",
        description,
        relative_cost_chart(shown, list(dict.fromkeys(shown["design"])), description),
        shown.drop(columns="label"),
        (
            text_column("chip", "Chip"),
            text_column("design", "Network"),
            number_column("latency_ms", "Latency, ms"),
            number_column("dense_ms", "Dense, ms"),
            number_column("percent", "Of dense, %", "{:.1f}"),
        ),
    )


def _chip_table(data: pd.DataFrame) -> Table:
    return Table(
        "hardware_costs",
        "Predicted cost on every chip",
        "Per batch of the deployment workload on one chip alone, mean over seeds; memory is all weights and the "
        "largest activation, and fits below 90 % of the chip's.",
        data[["design", "chip", "batch", "latency_ms", "percent", "energy_j", "memory_mb", "fits", "flops"]],
        (
            text_column("design", "Network"),
            text_column("chip", "Chip"),
            text_column("batch", "Setting"),
            number_column("latency_ms", "Latency, ms"),
            number_column("percent", "Of dense, %", "{:.1f}"),
            number_column("energy_j", "Energy, J"),
            number_column("memory_mb", "Memory, MB", "{:,.0f}"),
            Column("Fits", _fits),
            number_column("flops", "TFLOP", "{:.3f}", scale=1e-12),
        ),
        filterable=True,
    )


def _fits(row: dict[str, Any]) -> Cell:
    return Cell("yes", 1) if row["fits"] >= 1.0 else Cell("no", 0, kind="worse")


def _knobs(knobs: pd.DataFrame) -> Table:
    """What each knob takes off the dense latency, in percentage points, on the first chip of each setting."""
    wide = over_seeds(knobs, ["setting", "chip", "knob"], ["latency_ms"])
    wide = wide.pivot_table(index=["design", "setting", "chip"], columns="knob", values="latency_ms", sort=False)
    before = ["dense", *KNOBS[:-1]]
    shares = pd.DataFrame(
        {knob: 100.0 * (wide[start] - wide[knob]) / wide["dense"] for start, knob in zip(before, KNOBS, strict=True)}
    ).reset_index()
    shares["batch"] = shares["setting"].map(SETTINGS)
    return Table(
        "hardware_knobs",
        "What each knob saves",
        "Share of the dense network's predicted latency that each knob takes off, in percentage points, applied one "
        "after the other.",
        shares[["design", "chip", "batch", *KNOBS]],
        (
            text_column("design", "Network"),
            text_column("chip", "Chip"),
            text_column("batch", "Setting"),
            *(number_column(knob, knob.capitalize(), "{:.1f}") for knob in KNOBS),
        ),
        filterable=True,
    )


def _host(folder: Path) -> list[Block]:
    profile = read_json(folder / "profile" / "profile.json")
    layers = read_parquet(folder / "host_layers.parquet")
    whole = layers[layers["layer_type"].isin(["embed", "attention", "mlp", "block"])]
    error = 100.0 * (whole["predicted_ms"] / whole["latency_ms"] - 1.0).abs()
    text = Markup(
        "This machine: {} measured rows on {}, {:.0f} GFLOP/s and {:.0f} GB/s at best, {}. Energy counters: {}. "
        "Its kernels calibrate the roofline, one factor per kind; whole layers, which they did not see, are then "
        "predicted within {:.0f} % (median). With one measured device, transfer to others cannot be assessed here."
    ).format(
        profile["rows"],
        plural(profile["threads"], "thread"),
        profile["peak_flops_fp32"] / 1e9,
        profile["peak_bw"] / 1e9,
        profile["precisions"],
        profile["energy"],
        error.median(),
    )
    return [Prose(text), _parity(layers), _designs(folder), *_rejected(folder)]


def _parity(layers: pd.DataFrame) -> Figure:
    shown = pd.DataFrame(
        {
            "kind": layers["layer_type"].map(GROUPS),
            "measured": layers["latency_ms"],
            "predicted": layers["predicted_ms"],
        }
    ).reset_index(drop=True)
    shown["label"] = labels(shown, "{kind}: measured {measured:.3g} ms, predicted {predicted:.3g} ms")
    error = 100.0 * (shown["predicted"] / shown["measured"] - 1.0).abs()
    by_kind = error.groupby(shown["kind"]).median()
    listed = "; ".join(f"{kind} {value:.0f} %" for kind, value in by_kind.items())
    description = f"Predicted against measured latency of {plural(len(shown), 'row')}. Median error: {listed}."
    return Figure(
        "hardware_parity",
        "Predicted against measured, this machine",
        f"Latency of kernels and whole layers; on the dashed line the prediction is right. Median error: {listed}.",
        description,
        parity_chart(shown, description),
        shown.drop(columns="label"),
        (
            text_column("kind", "Layer"),
            number_column("measured", "Measured, ms"),
            number_column("predicted", "Predicted, ms"),
        ),
    )


def _designs(folder: Path) -> Table:
    data = read_parquet(folder / "host.parquet")
    return Table(
        "hardware_host",
        "Pruned networks on this machine",
        "A network of d = 192 with the same shares, run here in turns with the dense one; the ratio's bounds are of "
        "95 %. The prediction comes from the calibrated roofline.",
        data,
        (
            text_column("run", "Network"),
            number_column("measured_ms", "Measured, ms"),
            number_column("measured_iqr_ms", "IQR, ms"),
            number_column("predicted_ms", "Predicted, ms"),
            number_column("dense_ms", "Dense, ms"),
            number_column("ratio", "Of dense", "{:.3f}"),
            number_column("ratio_low", "from", "{:.3f}"),
            number_column("ratio_high", "to", "{:.3f}"),
        ),
    )


def _rejected(folder: Path) -> list[Block]:
    rejected = read_parquet(folder / "profile" / "rejected.parquet")
    if rejected.empty:
        return [Prose(Markup("No measured row was rejected."))]
    note = Markup("{} of this machine's profile rejected: their times varied too much to be used.").format(
        plural(len(rejected), "row")
    )
    table = Table(
        "hardware_rejected",
        "Rejected rows",
        "Measured, but not used: why.",
        rejected[["layer_type", "op", "precision", "flops", "latency_ms", "reason"]],
        (
            text_column("layer_type", "Layer"),
            text_column("op", "Operation"),
            number_column("flops", "FLOP", "{:.3g}"),
            number_column("latency_ms", "Median, ms"),
            text_column("reason", "Reason"),
        ),
    )
    return [Notice("note", note), table]
