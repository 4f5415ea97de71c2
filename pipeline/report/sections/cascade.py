"""The trained cascade: what it answers, what it asks, what it costs, and what it loses against the complex model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...artifacts import read_json, read_parquet
from ...config.cascade import CascadeConfig
from ...config.cascade_loading import load_resolved_cascade
from ...data.ieeg_layout import by_number
from ..blocks import Block, Figure, Notice, Picker, Prose, Section, Table, number_column, text_column
from ..cascade_charts import electrodes_chart, risk_chart, routing_chart
from ..cascade_loss import balanced_accuracy_loss
from ..context import Context
from ..experiments_md import snakemake_command
from ..formats import labels, percent

EVALUATION, STAGES = "EXP-C6-evaluate", "EXP-C3-stages"
ARMS = {
    "cascade": "cascade",
    "simple": "its simple model alone",
    "complex": "its complex model alone",
    "complex_only": "complex model trained alone",
}
SHOWN = (
    "balanced_accuracy",
    "auc",
    "average_precision",
    "call_rate",
    "macs_per_window",
    "macs_per_window_live",
    "energy_proxy",
    "event_sensitivity",
    "false_alarms_per_hour",
    "detection_latency",
)
PATIENTS_SHOWN = 8


def section(context: Context) -> Section:
    """Scores of all finished seeds, figures of the first."""
    folder = context.results / EVALUATION
    seeds = sorted(path.parent for path in folder.glob("seed*/metrics.parquet"))
    if not seeds:
        command = snakemake_command(EVALUATION, context.preset_name)
        text = Markup("Not run: no finished <code>{}</code>. Make it with <code>{}</code>").format(EVALUATION, command)
        return Section("cascade", "Seizure cascade", (Prose(text),))
    cfg = load_resolved_cascade(seeds[0] / "config.yaml")
    metrics = pd.concat([read_parquet(seed / "metrics.parquet") for seed in seeds], ignore_index=True)
    test = read_tables(seeds, "test_predictions")
    electrodes = read_tables(seeds[:1], "electrodes")
    manifests = _manifests(context.results / STAGES / seeds[0].name)
    summary = _summary(metrics, test)
    blocks: list[Block] = [summary, _scores(metrics), _patients(metrics, manifests)]
    blocks += [_electrodes(electrodes), _risk(read_tables(seeds[:1], "risk_coverage"), manifests, cfg)]
    blocks += _routing(test[test["seed"] == test["seed"].min()], manifests, cfg)
    return Section("cascade", "Seizure cascade", tuple(blocks), summary.html)


def read_tables(seeds: list[Path], name: str) -> pd.DataFrame:
    """One table of every patient and seed of the evaluation, with columns `seed` and `patient`."""
    parts = []
    for seed in seeds:
        for path in _by_patient(seed.glob(f"*/{name}.parquet")):
            number = int(seed.name.removeprefix("seed"))
            parts.append(read_parquet(path).assign(seed=number, patient=path.parent.name))
    return pd.concat(parts, ignore_index=True)


def _manifests(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: read_json(path) for path in _by_patient(folder.glob("*/cascade.json"))}


def _by_patient(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: by_number(path.parent.name))


def _summary(metrics: pd.DataFrame, test: pd.DataFrame) -> Notice:
    """The claim in one sentence: calls, multiplications, loss against the complex model and its bound."""
    loss = balanced_accuracy_loss(test)
    pooled = metrics[metrics["patient"] == "all"]
    values = pooled.groupby(["arm", "metric"])["value"].mean()
    calls = values["cascade", "call_rate"]
    saving = values["complex_only", "macs_per_window"] / values["cascade", "macs_per_window"]
    ictal = int(test.loc[test["seed"] == test["seed"].min(), "label"].sum())
    text = Markup(
        "The complex model is asked about {} of the windows; {:.1f} times fewer multiplications than asking it always. "
        "Balanced accuracy {} against {} of the complex model alone: a loss of {:+.2f} points, upper 95 % bound "
        "{:+.2f} ({:,} ictal test windows, recordings resampled). {}"
    ).format(
        percent(float(calls)),
        saving,
        percent(float(values["cascade", "balanced_accuracy"])),
        percent(float(values["complex_only", "balanced_accuracy"])),
        100 * loss.loss.mean,
        100 * loss.upper_bound,
        ictal,
        _verdict(float(calls), loss.upper_bound, float(saving)),
    )
    reached = calls <= 0.1 and loss.holds and saving >= 8
    return Notice("note" if reached else "warning", text)


def _verdict(calls: float, bound: float, saving: float) -> str:
    missed = []
    if calls > 0.1:
        missed.append("more than 10 % of the windows are in doubt")
    if bound >= 0.02:
        missed.append("a loss of 2 points cannot be excluded")
    if saving < 8:
        missed.append("fewer than 8 times fewer multiplications")
    return f"Short of its aims: {', '.join(missed)}." if missed else "It reaches its aims."


def _scores(metrics: pd.DataFrame) -> Table:
    pooled = metrics[(metrics["patient"] == "all") & metrics["metric"].isin(SHOWN)]
    table = pooled.pivot_table(index="arm", columns="metric", values="value", aggfunc="mean").reindex(list(ARMS))
    table = table.reindex(columns=list(SHOWN)).reset_index()
    table["arm"] = table["arm"].map(ARMS)
    caption = (
        "Test windows and seizures of all patients together, mean over seeds. Multiplications are those of a net for "
        "128 electrodes; beside them those that this patient's electrodes need. Energy is a proxy: arithmetic alone at "
        "4.6 pJ per 32-bit multiply-add (Horowitz 2014, 45 nm), no memory."
    )
    columns = (
        text_column("arm", "Arm"),
        number_column("balanced_accuracy", "Balanced accuracy, %", "{:.1f}", 100.0),
        number_column("auc", "AUC", "{:.4f}"),
        number_column("average_precision", "AUPRC", "{:.4f}"),
        number_column("call_rate", "Complex calls, %", "{:.1f}", 100.0, missing="–"),
        number_column("macs_per_window", "MAC, millions", "{:.2f}", 1e-6),
        number_column("macs_per_window_live", "own electrodes", "{:.2f}", 1e-6),
        number_column("energy_proxy", "Energy proxy, µJ", "{:.1f}", 1e6),
        number_column("event_sensitivity", "Seizures found, %", "{:.0f}", 100.0),
        number_column("false_alarms_per_hour", "False alarms / h", "{:.2f}"),
        number_column("detection_latency", "Latency, s", "{:.1f}", explanation="median over found seizures"),
    )
    return Table("cascade-scores", "Cascade against complex model", caption, table, columns)


def _patients(metrics: pd.DataFrame, manifests: dict[str, dict[str, Any]]) -> Table:
    own = metrics[(metrics["patient"] != "all") & (metrics["arm"] == "cascade")]
    table = own.pivot_table(index="patient", columns="metric", values="value", aggfunc="mean").reset_index()
    table = table.sort_values("patient", key=lambda names: names.map(by_number), ignore_index=True)
    alone = metrics[(metrics["arm"] == "complex_only") & (metrics["metric"] == "balanced_accuracy")]
    table["alone"] = table["patient"].map(alone.groupby("patient")["value"].mean())
    for key in ("simple_model", "electrode", "threshold", "why_not_looser"):
        table[f"m_{key}"] = table["patient"].map({name: manifest[key] for name, manifest in manifests.items()})
    caption = (
        "tau is chosen on the calibration split: of the thresholds whose risk bounds hold, the strictest within the "
        "budget of calls, or the loosest where none is. A tau of 1 sends every window to the complex model. Electrode, "
        "tau and reason are those of the first seed."
    )
    columns = (
        text_column("patient", "Patient"),
        text_column("m_simple_model", "Simple model"),
        number_column("m_electrode", "Electrode", "{:.0f}"),
        number_column("electrode_auc_gap", "AUC below best", "{:.4f}", explanation="of all electrodes, full search"),
        number_column("m_threshold", "tau", "{:.3f}"),
        number_column("call_rate", "Complex calls, %", "{:.1f}", 100.0),
        number_column("balanced_accuracy", "Balanced accuracy, %", "{:.1f}", 100.0),
        number_column("alone", "complex alone, %", "{:.1f}", 100.0),
        number_column("risk", "Risk, %", "{:.2f}", 100.0, explanation="kept, wrong, and the complex model right"),
        number_column("ictal_risk", "ictal, %", "{:.2f}", 100.0),
        text_column("m_why_not_looser", "Why tau is not looser"),
    )
    return Table("cascade-patients", "Patient by patient", caption, table, columns)


def _electrodes(electrodes: pd.DataFrame) -> Figure:
    shown = electrodes[electrodes["patient"].isin(list(dict.fromkeys(electrodes["patient"]))[:PATIENTS_SHOWN])].copy()
    shown["kind"] = np.where(shown["learned"], "learned", "other electrode")
    shown["label"] = labels(shown, "{patient}, electrode {channel}, {kind}: test AUC {auc_test:.4f}")
    learned = shown[shown["learned"]]
    description = "Test AUC of every electrode. Learned: " + "; ".join(
        labels(learned, "{patient}: {channel}, {auc_test:.4f}")
    )
    caption = (
        "A simple model trained on every usable electrode by itself; the diamond is the electrode that the cascade "
        "learned without this search."
    )
    columns = (
        text_column("patient", "Patient"),
        number_column("channel", "Electrode", "{:.0f}"),
        number_column("auc_val", "AUC, validation", "{:.4f}"),
        number_column("auc_test", "AUC, test", "{:.4f}"),
        text_column("kind", "Role"),
    )
    chart = electrodes_chart(shown[["patient", "channel", "auc_test", "kind", "label"]], description)
    data = shown.drop(columns=["label", "learned", "seed"])
    title = "The learned electrode among all"
    return Figure("electrode-map", title, caption, description, chart, data, columns)


def _risk(curves: pd.DataFrame, manifests: dict[str, dict[str, Any]], cfg: CascadeConfig) -> Figure:
    data = curves[(curves["split"] == "test") & np.isfinite(curves["margin"])].copy()
    data = data[data["patient"].isin(list(dict.fromkeys(data["patient"]))[:PATIENTS_SHOWN])]
    chosen = {name: manifest["margin"] for name, manifest in manifests.items()}
    data["chosen"] = data["margin"] == data["patient"].map(chosen)
    data["label"] = labels(data, "{patient}, tau {threshold:.3f}: keeps {accepted:.1%}, risk {risk:.2%}")
    limit = cfg.evaluation.max_risk
    description = f"Risk against share kept, one curve per patient; bound {limit:g}"
    caption = (
        f"Risk: windows that the simple model keeps and gets wrong where the complex one is right. Points: the "
        f"calibrated tau. Dashed: the bound of {limit:g}, which calibration promises with probability "
        f"{1 - cfg.evaluation.risk_level:g}. A patient without a point sends every window to the complex model."
    )
    columns = (
        text_column("patient", "Patient"),
        number_column("threshold", "tau", "{:.4f}"),
        number_column("accepted", "Kept", "{:.3f}"),
        number_column("risk", "Risk", "{:.4f}"),
        number_column("ictal_risk", "Risk, ictal", "{:.4f}"),
        number_column("error_kept", "Error among kept", "{:.4f}"),
        number_column("balanced_accuracy", "Balanced accuracy", "{:.4f}"),
    )
    drawn = data[["patient", "accepted", "risk", "margin", "chosen", "label"]]
    table = data.drop(columns=["label", "seed", "split", "chosen"])
    title = "Risk and coverage on unseen recordings"
    return Figure("risk-coverage", title, caption, description, risk_chart(drawn, limit, description), table, columns)


def _routing(test: pd.DataFrame, manifests: dict[str, dict[str, Any]], cfg: CascadeConfig) -> list[Block]:
    """The test recording of each patient with the most hand-overs, in time."""
    path = Path(cfg.data.root) / "annotations.parquet"
    if not path.is_file():
        return []
    annotations = read_parquet(path, ("patient", "recording", "onset_s", "offset_s"))
    options = []
    for patient, own in list(test.groupby("patient", sort=False))[:PATIENTS_SHOWN]:
        with_seizure = own[own["recording"].isin(own.loc[own["label"] == 1, "recording"])]
        calls = with_seizure.groupby("recording", sort=True)["routed"].sum()
        recording = str(calls.idxmax())
        windows = with_seizure[with_seizure["recording"] == recording].sort_values("start_s")
        marked = annotations[(annotations["patient"] == patient) & (annotations["recording"] == recording)]
        options.append((str(patient), _routing_of(windows, marked, manifests[str(patient)]["margin"])))
    return [Picker("cascade-routing", "Patient", tuple(options))]


def _routing_of(windows: pd.DataFrame, marked: pd.DataFrame, margin: float | None) -> Figure:
    patient, recording = str(windows["patient"].iloc[0]), str(windows["recording"].iloc[0])
    data = windows[["start_s", "label", "routed"]].rename(columns={"label": "annotated"})
    data["simple"] = (windows["simple_1"] - windows["simple_0"]).astype(float)
    data["answered"] = np.where(windows["routed"], "complex model", "simple model")
    data["verdict"] = np.where(windows["logit_1"] > windows["logit_0"], "ictal", "interictal")
    data["annotation"] = np.where(data.pop("annotated") == 1, "ictal", "interictal")
    data["label"] = labels(data, "{start_s:g} s: {verdict} by the {answered}, annotated {annotation}")
    calls = f"{int(windows['routed'].sum())} of {len(windows)} windows handed over"
    description = f"{patient}, recording {recording}: {calls}"
    caption = (
        f"Test recording {recording}, {calls}: the one of this patient with the most. Shaded: the annotated seizure. "
        "Grey band: the margin within which the complex model is asked. The guard around a seizure is not scored."
    )
    half = margin if margin is not None else float(data["simple"].abs().max())
    drawn = data[["start_s", "simple", "answered", "verdict", "label"]]
    chart = routing_chart(drawn, marked[["onset_s", "offset_s"]], half, description)
    columns = (
        number_column("start_s", "Start, s", "{:.1f}"),
        number_column("simple", "l1 - l0", "{:.2f}"),
        text_column("answered", "Answered by"),
        text_column("verdict", "Answer"),
        text_column("annotation", "Annotation"),
    )
    name, title = f"cascade-routing-{patient}", f"A seizure as the cascade sees it, {patient}"
    return Figure(name, title, caption, description, chart, data.drop(columns=["label", "routed"]), columns)
