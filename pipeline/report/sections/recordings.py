"""The recordings of the cascade: what was read, what the four analyses found, and which simple model was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...artifacts import read_json, read_parquet
from ...config.cascade import CascadeConfig
from ...config.cascade_loading import load_resolved_cascade
from ...experiments import available_cascade
from ..blocks import Block, Figure, Notice, Picker, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..experiments_md import snakemake_command
from ..formats import duration, labels, percent, plural
from ..recording_charts import (
    candidates_chart,
    confidence_chart,
    correlation_chart,
    separability_chart,
    signature_chart,
)

ANALYSIS, DECISION = "EXP-C1-analysis", "EXP-C2-decide"
PATIENTS_SHOWN, ELECTRODES_SHOWN, CURVE_POINTS = 8, 24, 12
CLASS_NAMES = {0: "interictal", 1: "ictal"}


def section(context: Context) -> Section:
    """Recordings, the four analyses and the decision, of the first finished seed."""
    run = _first_finished(context.results / ANALYSIS)
    if run is None:
        return Section("recordings", "Recordings", (Prose(_how_to_make(context)),))
    cfg = load_resolved_cascade(run / "config.yaml")
    tables = {path.stem: read_parquet(path) for path in sorted((run / "tables").glob("*.parquet"))}
    blocks: list[Block] = [*_recordings(cfg), _separability(tables), _confidence(tables, cfg), *_pickers(tables)]
    decided = _first_finished(context.results / DECISION)
    if decided is not None:
        blocks += _decision(decided)
    return Section("recordings", "Recordings", tuple(blocks))


def _how_to_make(context: Context) -> Markup:
    """The commands of the cascade's experiments, or why the preset has none."""
    names = available_cascade(context.preset_name, has_recordings=context.preset.data_source == "none")
    if not names:
        return Markup("Not run: this preset reads videos alone.")
    commands = [snakemake_command(name, context.preset_name) for name in names]
    listed = Markup(", ").join(Markup("<code>{}</code>").format(command) for command in commands)
    return Markup("Not run: the cascade's experiments have read no recordings yet. Make them with {}.").format(listed)


def _first_finished(folder: Path) -> Path | None:
    done = sorted(path.parent for path in folder.glob("seed*/metrics.parquet"))
    return done[0] if done else None


def _recordings(cfg: CascadeConfig) -> list[Block]:
    if not (Path(cfg.data.root) / "recordings.parquet").is_file():
        text = Markup("The recordings' tables are not here: <code>{}/recordings.parquet</code>.")
        return [Prose(text.format(cfg.data.root))]
    table = read_parquet(Path(cfg.data.root) / "recordings.parquet", ("patient", "status", "n_windows"))
    channels = read_parquet(Path(cfg.data.root) / "channels.parquet", ("patient", "usable", "reason"))
    good = table[table["status"] == "ok"]
    total = Markup("{} of {}, {} of signal, {:,} windows, {:,} of them ictal.").format(
        plural(len(good), "recording"),
        plural(good["patient"].nunique(), "patient"),
        duration(float(good["duration_s"].sum())),
        int(good["n_windows"].sum()),
        int(good["n_ictal"].sum()),
    )
    blocks: list[Block] = [Prose(total)]
    if cfg.data.splits == "shared":
        warning = "Every split reads every recording: a check of the path; scores say nothing about unseen recordings."
        blocks.append(Notice("warning", Markup(warning)))
    sums = ["n_windows", "n_ictal", "n_guard", "n_cluster", "n_nan", "n_thinned"]
    by_split = good.groupby(["patient", "split"], sort=False)[sums].sum().reset_index()
    by_split.insert(2, "recordings", good.groupby(["patient", "split"], sort=False).size().to_numpy())
    caption = (
        "Left out: windows in the guard around a seizure, in clusters of seizures, with missing samples, and "
        "interictal ones that were thinned for training."
    )
    titles = {"recordings": "Recordings", "n_windows": "Windows", "n_ictal": "Ictal", "n_guard": "Guard"}
    titles |= {"n_cluster": "Cluster", "n_nan": "NaN", "n_thinned": "Thinned"}
    columns = (text_column("patient", "Patient"), text_column("split", "Split"))
    numbers = tuple(number_column(key, title, "{:,.0f}") for key, title in titles.items())
    blocks.append(Table("recordings", "Windows by patient and split", caption, by_split, columns + numbers))
    return blocks + _left_out(table, channels)


def _left_out(table: pd.DataFrame, channels: pd.DataFrame) -> list[Block]:
    electrodes = channels.loc[~channels["usable"], ["patient", "name", "reason"]].rename(columns={"name": "what"})
    electrodes["what"] = "electrode " + electrodes["what"]
    bad = table.loc[table["status"] != "ok", ["patient", "recording", "message"]]
    bad = bad.rename(columns={"recording": "what", "message": "reason"})
    rows = pd.concat([bad, electrodes], ignore_index=True)
    if rows.empty:
        return []
    columns = (text_column("patient", "Patient"), text_column("what", "Left out"), text_column("reason", "Why"))
    caption = "Whole recordings and electrodes that no model sees."
    return [Table("recordings-left-out", "Left out", caption, rows, columns)]


def _separability(tables: dict[str, pd.DataFrame]) -> Figure:
    data = tables["separability"].assign(
        kind=lambda table: np.where(table["key_channel"], "key electrode", "other electrode")
    )
    data["label"] = labels(data, "{patient}, electrode {channel}: AUC {auc:.3f}, best single feature {best_feature}")
    best = data[data["rank"] == 1]
    ends = "; ".join(labels(best, "{patient}: electrode {channel}, {auc:.3f}"))
    description = f"AUC of every electrode by patient. Best: {ends}"
    caption = (
        "One mark per electrode: AUC on validation windows of a linear discriminant of nine features, fitted on "
        "training windows. Below 0.5 is drawn at its value; a feature may fall in a seizure as well as rise."
    )
    shown = data[["patient", "channel", "auc", "auc_train", "best_feature", "effect_size", "rank"]]
    columns = (
        text_column("patient", "Patient"),
        number_column("channel", "Electrode", "{:.0f}"),
        number_column("auc", "AUC", "{:.3f}"),
        number_column("auc_train", "AUC, training", "{:.3f}"),
        text_column("best_feature", "Best feature"),
        number_column("effect_size", "Effect size", "{:.2f}", explanation="Cohen's d of the best feature"),
        number_column("rank", "Rank", "{:.0f}"),
    )
    chart = separability_chart(data[["patient", "auc", "kind", "label"]], description)
    return Figure("electrode-separability", "Which electrodes separate", caption, description, chart, shown, columns)


def _confidence(tables: dict[str, pd.DataFrame], cfg: CascadeConfig) -> Figure:
    keys = ["low", "high", "label", "right"]
    data = tables["difficulty"].groupby(keys)["windows"].sum().reset_index()
    data["class_name"] = data["label"].map(CLASS_NAMES)
    data["answer"] = np.where(data["right"], "right", "wrong")
    data = data.drop(columns=["label", "right"])
    data["label"] = labels(data, "{class_name}, |p1 - p0| {low:.2f} to {high:.2f}: {windows} {answer}")
    summary, easy = tables["difficulty_summary"], cfg.analysis.easy_confidence
    share = float((summary["easy_share"] * summary["windows"]).sum() / summary["windows"].sum())
    description = (
        f"Validation windows by confidence of the model of all electrodes; {percent(share)} are above {easy:g}"
    )
    caption = (
        f"How sure the model of all electrodes (EXP-C0-baseline) is on validation windows. {percent(share)} of them "
        f"lie above {easy:g} (dashed): these are easy, and a simple model in front could answer many of them."
    )
    columns = (
        text_column("class_name", "Class"),
        number_column("low", "From", "{:.2f}"),
        number_column("high", "To", "{:.2f}"),
        text_column("answer", "Answer"),
        number_column("windows", "Windows", "{:,.0f}"),
    )
    chart = confidence_chart(data, easy, description)
    title = "How many windows are easy"
    return Figure("window-confidence", title, caption, description, chart, data.drop(columns="label"), columns)


def _pickers(tables: dict[str, pd.DataFrame]) -> list[Block]:
    patients = list(dict.fromkeys(tables["separability"]["patient"]))[:PATIENTS_SHOWN]
    blocks: list[Block] = []
    if len(tables["correlation"]):
        options = tuple((patient, _correlation(tables, patient)) for patient in patients)
        blocks.append(Picker("electrode-correlation", "Patient", options))
    options = tuple((patient, _signature(tables, patient)) for patient in patients)
    return [*blocks, Picker("seizure-signature", "Patient", options)]


def _correlation(tables: dict[str, pd.DataFrame], patient: str) -> Figure:
    own = tables["separability"].query("patient == @patient")
    order = own["channel"].head(ELECTRODES_SHOWN).tolist()
    pairs = tables["correlation"].query("patient == @patient and class_name == 'interictal'")
    pairs = pairs[pairs["channel_a"].isin(order) & pairs["channel_b"].isin(order)]
    half = pairs[["channel_a", "channel_b", "correlation"]].set_axis(["a", "b", "correlation"], axis=1)
    mirrored = half.rename(columns={"a": "b", "b": "a"})
    data = pd.concat([half, mirrored], ignore_index=True)
    place = {channel: number for number, channel in enumerate(order)}
    data = data.sort_values(["a", "b"], key=lambda column: column.map(place), ignore_index=True)
    data["label"] = labels(data, "electrodes {a} and {b}: {correlation:.2f}")
    data["sign"] = np.where(data["correlation"] >= 0, "positive", "negative")
    data["size"] = data.pop("correlation").abs()
    most = float(data["size"].max())
    row = tables["redundancy"].query("patient == @patient and class_name == 'interictal'").iloc[0]
    words = (
        f"effective rank {row['effective_rank']:.1f} of {row['channels']:.0f} electrodes, {row['components_90']:.0f} "
        f"components hold 90 % of the variance, mean |correlation| {row['mean_abs_correlation']:.2f}"
    )
    description = f"{patient}: correlation of electrodes between seizures; {words}"
    caption = (
        f"Between seizures: {words}. Full colour: {most:.2f}, the largest of those drawn. At most {ELECTRODES_SHOWN} "
        "electrodes are drawn; the table has all pairs."
    )
    columns = (
        text_column("class_name", "Class"),
        number_column("channel_a", "Electrode", "{:.0f}"),
        number_column("channel_b", "Electrode", "{:.0f}"),
        number_column("correlation", "Correlation", "{:.3f}"),
    )
    whole = tables["correlation"].query("patient == @patient").drop(columns="patient")
    name, title = f"electrode-correlation-{patient}", f"How much electrodes repeat each other, {patient}"
    return Figure(name, title, caption, description, correlation_chart(data, most, description), whole, columns)


def _signature(tables: dict[str, pd.DataFrame], patient: str) -> Figure:
    spectrum = (
        tables["spectrum"].query("patient == @patient").assign(class_name=lambda table: table["label"].map(CLASS_NAMES))
    )
    evolution = tables["evolution"].query("patient == @patient").copy()
    evolution["band"] = labels(evolution, "{low_hz:g}–{high_hz:g}")
    step = np.diff(np.unique(evolution["since_onset_s"])).min(initial=2.0)
    evolution["until_s"] = evolution["since_onset_s"] + step
    evolution["label"] = labels(evolution, "{band} Hz, {since_onset_s:g} s after onset: {gain_db:+.1f} dB")
    bands, channel = tables["bands"].query("patient == @patient"), int(spectrum["channel"].iloc[0])
    most = bands.iloc[int(bands["gain_db"].abs().to_numpy().argmax())]
    words = f"the band of {most['low_hz']:g}–{most['high_hz']:g} Hz changes most, by {most['gain_db']:+.1f} dB"
    description = f"{patient}, electrode {channel}: spectrum by class and gain over time since onset; {words}"
    caption = (
        f"Electrode {channel}, the most separable one; {words}. Left: median power and quartiles of training windows. "
        "Right: ictal windows against the interictal median, by time since onset."
    )
    columns = (
        number_column("since_onset_s", "Since onset, s", "{:.0f}"),
        text_column("band", "Band, Hz"),
        number_column("gain_db", "Gain, dB", "{:+.1f}"),
        number_column("windows", "Windows", "{:,.0f}"),
    )
    evolution["sign"] = np.where(evolution["gain_db"] >= 0, "rises", "falls")
    evolution["size"] = evolution["gain_db"].abs()
    drawn = evolution[["since_onset_s", "until_s", "band", "sign", "size", "label"]]
    shown = spectrum[spectrum["frequency_hz"] >= 1.0][["frequency_hz", "power_db", "low_db", "high_db", "class_name"]]
    chart = signature_chart(shown, drawn, description)
    data = evolution[["since_onset_s", "band", "gain_db", "windows"]]
    name, title = f"seizure-signature-{patient}", f"What a seizure looks like, {patient}"
    return Figure(name, title, caption, description, chart, data, columns)


def _decision(run: Path) -> list[Block]:
    document: dict[str, Any] = read_json(run / "decision.json")
    text = Markup("{}. The rule: {}").format(document["statement"], document["rule"])
    table = pd.DataFrame(document["candidates"])
    columns = (
        text_column("candidate", "Simple model"),
        number_column("macs", "Multiplications", "{:,.0f}", explanation="for one window"),
        number_column("parameters", "Parameters", "{:,.0f}"),
        number_column("auc", "AUC", "{:.4f}", explanation="validation, mean over patients and seeds"),
        number_column("auc_std", "± seeds", "{:.4f}"),
        number_column("coverage", "Coverage, %", "{:.1f}", 100.0, explanation="at the target risk, validation"),
        number_column("coverage_std", "± seeds", "{:.1f}", 100.0),
        text_column("reason", "Verdict"),
    )
    caption = f"Trained with {plural(len(document['seeds']), 'seed')} on each patient's most separable electrode."
    blocks: list[Block] = [Notice("note" if document["worthwhile"] else "warning", text)]
    blocks.append(Table("simple-candidates", "The simple model, chosen by rule", caption, table, columns))
    return [*blocks, _curves(read_parquet(run / "risk_coverage.parquet"), load_resolved_cascade(run / "config.yaml"))]


def _curves(curves: pd.DataFrame, cfg: CascadeConfig) -> Figure:
    data = curves[curves["seed"] == curves["seed"].min()].reset_index(drop=True)
    rank = data.groupby("candidate").cumcount()
    size = data.groupby("candidate")["coverage"].transform("size")
    # A step curve of hundreds of windows: every point that changes the risk by little is left to the table.
    keep = (rank % np.maximum(1, size // 120) == 0) | (rank == size - 1)
    data = data[keep].assign(marked=(rank % np.maximum(1, size // CURVE_POINTS) == 0)[keep])
    data["label"] = labels(data, "{candidate}: {risk:.4f} wrong among the surest {coverage:.0%}")
    target = cfg.decision.target_risk
    description = f"Risk against coverage of the candidates on validation windows; target risk {target:g}"
    caption = (
        f"Share of wrong answers among the surest windows, all patients together, first seed; dashed: {target:g}. "
        f"Risks above {20 * target:g} are drawn at the upper edge."
    )
    columns = (
        text_column("candidate", "Simple model"),
        number_column("coverage", "Coverage", "{:.3f}"),
        number_column("risk", "Risk", "{:.4f}"),
        number_column("margin", "Margin, logits", "{:.2f}"),
    )
    chart = candidates_chart(data[["candidate", "coverage", "risk", "marked", "label"]], target, description)
    shown = data[["candidate", "coverage", "risk", "margin"]]
    title = "What the candidates could answer alone"
    return Figure("candidate-risk-coverage", title, caption, description, chart, shown, columns)
