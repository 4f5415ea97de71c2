"""Every bar of the seizure cascade: presets `demo`, `bench` (its accuracy claims), the Bonn table of REFERENCE_DATA.

Snakemake makes the experiments first, which does nothing where they are up to date (`--as-made` leaves that out and
reads what is there); the commands are printed. Without REFERENCE_DATA the Bonn rows are left out and said to be.
Loading and windowing (`benchmarks.cascade_data`) come last.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring

from benchmarks.cascade_data import loading_figures
from benchmarks.figures import Figure, report
from pipeline.artifacts import read_json, read_parquet
from pipeline.cascade.cascade_models import SIMPLE_VARIANTS, SeizureCascade
from pipeline.cascade.evaluation import ARM_LOGITS, event_rules
from pipeline.cascade.event_scores import GRID_HZ, alarms
from pipeline.cascade.predictions import verdicts_of
from pipeline.cascade.risk_control import violation_rate
from pipeline.cascade.window_scores import auc
from pipeline.config.cascade import CascadeConfig
from pipeline.config.cascade_loading import load_resolved_cascade
from pipeline.report.cascade_loss import balanced_accuracy_loss

STAGES, EVALUATION, DECISION = "EXP-C3-stages", "EXP-C6-evaluate", "EXP-C2-decide"
RESAMPLES = 200


def make(preset: str, *settings: str, as_made: bool) -> Path:
    """Make the cascade of a preset, unless it is taken as it was made; its results folder."""
    arguments = ["cascade", "--cores", "all", "--config", f"preset={preset}", *settings]
    results = Path("results") / preset
    print(f"{results}: made by snakemake {shlex.join(arguments)}", flush=True)
    if not as_made:
        command = [sys.executable, "-m", "snakemake", *arguments, "--quiet", "all", "--rerun-incomplete"]
        subprocess.run(command, check=True)
    return results


def test_predictions(results: Path) -> pd.DataFrame:
    """Test predictions of all patients and seeds."""
    paths = sorted((results / EVALUATION).glob("seed*/*/test_predictions.parquet"))
    parts = [read_parquet(path).assign(seed=int(path.parts[-3].removeprefix("seed"))) for path in paths]
    return pd.concat(parts, ignore_index=True)


def changed_bits(trials: int = 200) -> int:
    """How many of the simple path's outputs change when everything but its electrode is replaced."""
    generator = torch.Generator().manual_seed(0)
    changed = 0
    for trial in range(trials):
        torch.manual_seed(trial)
        cascade = SeizureCascade(SIMPLE_VARIANTS[trial % 4], torch.ones(128, dtype=torch.bool)).eval()
        cascade.selector.logits.data = torch.randn(128, generator=generator)
        signal = torch.randn(2, 128, 512, generator=generator)
        replaced = torch.randn(2, 128, 512, generator=generator) * 10.0 ** (trial % 7)
        replaced[:, cascade.selector.electrode] = signal[:, cascade.selector.electrode]
        changed += int((cascade.simple_logits(signal) != cascade.simple_logits(replaced)).sum())
    return changed


def electrode_gaps(results: Path) -> pd.Series:
    """How far each patient's learned electrode lies below the best of all, in AUC, the worst of its seeds."""
    metrics = read_parquet(results / EVALUATION / "metrics.parquet", ("patient", "metric", "value"))
    return metrics[metrics["metric"] == "electrode_auc_gap"].groupby("patient")["value"].max()


def event_mismatches(results: Path) -> int:
    """Recordings and arms of which a count differs from timescoring's on the same alarms and annotations."""
    wrong = 0
    for run in sorted((results / EVALUATION).glob("seed*/*/events.parquet")):
        cfg = load_resolved_cascade(run.parents[1] / "config.yaml")
        test = read_parquet(run.parent / "test_predictions.parquet")
        for row in read_parquet(run).to_dict("records"):
            windows = test[test["recording"] == row["recording"]].sort_values("start_s")
            theirs = _timescoring(windows, cfg, row["patient"], row["recording"], row["arm"], row["duration_s"])
            wrong += (row["seizures"], row["found"], row["false_alarms"]) != (theirs.refTrue, theirs.tp, theirs.fp)
    return wrong


def _timescoring(
    windows: pd.DataFrame, cfg: CascadeConfig, patient: str, recording: str, arm: str, duration_s: float
) -> EventScoring:
    rules, settings = event_rules(cfg.evaluation), cfg.evaluation
    annotations = read_parquet(Path(cfg.data.root) / "annotations.parquet")
    marked = annotations[(annotations["patient"] == patient) & (annotations["recording"] == recording)]
    ictal = (windows[f"{ARM_LOGITS[arm]}_1"] > windows[f"{ARM_LOGITS[arm]}_0"]).to_numpy()
    window_s = cfg.data.window_samples / cfg.data.sample_rate_hz
    raised = alarms(ictal, windows["start_s"].to_numpy(float), window_s, settings.votes, settings.votes_among)
    samples = round(duration_s * GRID_HZ)
    reference = sorted(zip(marked["onset_s"], marked["offset_s"], strict=True))
    parameters = EventScoring.Parameters(
        toleranceStart=rules.tolerance_before_s,
        toleranceEnd=rules.tolerance_after_s,
        maxEventDuration=rules.max_event_s,
        minDurationBetweenEvents=rules.merge_gap_s,
    )
    both = (Annotation(events, GRID_HZ, samples) for events in (reference, raised))
    return EventScoring(*both, parameters)


def violations(results: Path) -> tuple[pd.Series, float]:
    """Share of block resamples that break a bound, by patient and seed, and the level that was stated."""
    rates, level = {}, 0.0
    for run in sorted((results / STAGES).glob("seed*/*/predictions.parquet")):
        cfg = load_resolved_cascade(run.parents[1] / "config.yaml").evaluation
        table = read_parquet(run)
        unseen = verdicts_of(table[table["split"].isin(["calibration", "test"])])
        limits = (cfg.max_risk, cfg.max_ictal_risk, cfg.risk_level)
        rate = violation_rate(unseen, *limits, call_budget=cfg.call_budget, resamples=RESAMPLES)
        rates[f"{run.parents[1].name}/{run.parent.name}"] = rate
        level = cfg.risk_level
    return pd.Series(rates), level


def bench_figures(results: Path) -> list[Figure]:
    """The cascade against the complex model alone, on test recordings of all patients and seeds."""
    test = test_predictions(results)
    loss = balanced_accuracy_loss(test)
    metrics = read_parquet(results / EVALUATION / "metrics.parquet")
    pooled = metrics[metrics["patient"] == "all"].groupby(["arm", "metric"])["value"].mean()
    saving = {
        name: pooled["complex_only", name] / pooled["cascade", name]
        for name in ("macs_per_window", "macs_per_window_live")
    }
    ictal = test[test["seed"] == test["seed"].min()]["label"].sum()
    rates, level = violations(results)
    allowed = level + 2 * math.sqrt(level * (1 - level) / RESAMPLES)
    print(f"bench: share of resamples that break a bound: {_listed(rates)}")
    print(f"bench: loss {100 * loss.loss.mean:+.2f} points; risk level {level:g}, {len(test)} test windows")
    gaps = electrode_gaps(results)
    print(f"bench: learned electrode below the best: {_listed(gaps)}")
    for arm in ARM_LOGITS:
        print(f"bench: {arm:13} balanced accuracy {pooled[arm, 'balanced_accuracy']:.4f}  AUC {pooled[arm, 'auc']:.4f}")
    return [
        Figure("bench: ictal test windows", float(ictal), "windows", 800, "higher"),
        Figure("bench: share of complex calls", float(pooled["cascade", "call_rate"]), "share", 0.10, "lower"),
        Figure("bench: loss of balanced accuracy, upper bound", 100 * loss.upper_bound, "points", 2.0, "lower"),
        Figure("bench: fewer MAC, net of 128 electrodes", float(saving["macs_per_window"]), "times", 8, "higher"),
        Figure("bench: fewer MAC, own electrodes only", float(saving["macs_per_window_live"]), "times", 8, "higher"),
        Figure("bench: broken risk bounds, 200 block resamples", float(rates.mean()), "share", allowed, "lower"),
        Figure("bench: learned electrode below the best", float(gaps.max()), "AUC", 0.02, "lower"),
    ]


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def demo_figures(results: Path) -> list[Figure]:
    """The learned electrode of each patient, and event scores that are timescoring's own."""
    gaps = [
        Figure(f"demo, {patient}: learned electrode below the best", float(gap), "AUC", 0.02, "lower")
        for patient, gap in electrode_gaps(results).items()
    ]
    wrong = float(event_mismatches(results))
    return [*gaps, Figure("demo: event counts that differ from timescoring's", wrong, "rows", 0, "lower")]


def bonn_figures(as_made: bool) -> list[Figure]:
    """The Bonn table through the same rules: disjoint records, the chosen simple model on its one electrode."""
    folder = os.environ.get("REFERENCE_DATA")
    if not folder:
        print("REFERENCE_DATA is not set: the Bonn rows are left out")
        return []
    results = make("bonn", f"raw_ieeg_root={Path(folder) / 'eeg' / 'bonn.npz'}", as_made=as_made)
    test = test_predictions(results)
    score = (test["simple_1"] - test["simple_0"]).to_numpy(float)
    label = test["label"].to_numpy()
    hard = test["recording"].str.contains(r"(?:^|_)[NFS]").to_numpy()
    decided = read_json(results / DECISION / "seed0" / "decision.json")["simple_model"]
    print(f"Bonn: simple model {decided}, {len(test)} windows of {test['recording'].nunique()} unseen records")
    print("Bonn: sets differ in electrodes and subjects, so this says nothing about clinical performance")
    print(f"Bonn: N and F against S, AUC {auc(score[hard], label[hard]):.4f}")
    return [Figure("Bonn: AUC of S against rest, unseen records", auc(score, label), "AUC", 0.99, "higher")]


def main() -> None:
    """Make what is missing, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--as-made", action="store_true", help="take the results as they are, run no experiment")
    arguments = parser.parse_args()
    figures = [
        Figure("outputs changed by other electrodes", changed_bits(), "outputs", 0, "lower"),
        *demo_figures(make("demo", as_made=arguments.as_made)),
        *bench_figures(make("bench", as_made=arguments.as_made)),
        *bonn_figures(arguments.as_made),
        *loading_figures(),
    ]
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
