"""Figures of the quantised cascade: presets `demo` and `bench`, and the Bonn table of REFERENCE_DATA.

Snakemake makes the experiments first, which does nothing where they are up to date; without REFERENCE_DATA the Bonn
rows are left out and said to be, as are those of the Verilog without Verilator and yosys.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from benchmarks.figures import Figure, parse_json_flag, report
from pipeline.artifacts import read_json, read_parquet
from pipeline.config.cascade_loading import load_resolved_cascade
from pipeline.quantised.answers import Answers, mismatches, quantised_logits
from pipeline.quantised.integer_files import read_integer_model
from pipeline.quantised.integer_numpy import quantise_windows, run_integer_model
from pipeline.quantised.layer_table import layer_table
from pipeline.quantised.quantised_training import load_quantised
from pipeline.report.cascade_loss import balanced_accuracy_loss
from pipeline.report.sections.quantised import finished_seeds, paired_predictions

QUANTISED, STAGES = "EXP-C4-qat", "EXP-C3-stages"
WINDOW, PER_RECORD, BATCH = 512, 30, 256
TOLERATED_LOSS = 0.01


def make(preset: str, *settings: str) -> Path:
    """Make the quantised cascade of a preset; its results folder."""
    command = [sys.executable, "-m", "snakemake", QUANTISED, "--cores", "all", "--quiet", "all", "--rerun-incomplete"]
    subprocess.run([*command, "--config", f"preset={preset}", *settings], check=True)
    return Path("results") / preset


def runs_of(results: Path) -> list[Path]:
    """The run folders of all patients and seeds."""
    return sorted(path.parent for path in (results / QUANTISED).glob("seed*/*/quantised.json"))


def overlapping_records(path: Path) -> Float[np.ndarray, "N 512"]:
    """`PER_RECORD` evenly spaced windows of every record of a table, in the recorder's own unit."""
    records = np.load(path, allow_pickle=False)["x"]
    starts = np.linspace(0, records.shape[1] - WINDOW, PER_RECORD).astype(int)
    return np.concatenate([records[:, start : start + WINDOW] for start in starts]).astype(np.float32)


def disagreements(run: Path, signal: Float[np.ndarray, "N C T"]) -> tuple[int, float]:
    """Windows on which the quantised nets in float64 and the integer model differ in a bit, and the seconds it took."""
    cfg = load_resolved_cascade(run.parents[0] / "config.yaml")
    stages = run.parents[2] / STAGES / run.parent.name / run.name
    cascade, model = load_quantised(cfg, run.name, stages, run), read_integer_model(run / "integer_model")
    began = time.perf_counter()
    wrong = 0
    for start in range(0, len(signal), BATCH):
        part = signal[start : start + BATCH]
        integers = run_integer_model(model, quantise_windows(model.input, part))
        answers = Answers(*quantised_logits(cascade, part), integers.simple, integers.complex)
        wrong += mismatches(model, answers, float(cascade.margin))
    return wrong, time.perf_counter() - began


def demo_figures(results: Path) -> list[Figure]:
    """What the experiment itself compared, on all windows of all patients, and the widest accumulator it proved."""
    manifests = [read_json(run / "quantised.json") for run in runs_of(results)]
    widest = max(
        layer_table(read_integer_model(run / "integer_model"))["accumulator_bits"].max() for run in runs_of(results)
    )
    return [
        Figure("demo: windows compared", sum(m["windows_compared"] for m in manifests), "windows", 2000, "higher"),
        Figure("demo: integer model differs from QAT", sum(m["mismatches"] for m in manifests), "windows", 0, "lower"),
        Figure("demo: widest accumulator that was proved", float(widest), "bits", 48, "lower"),
    ]


def bonn_signal() -> tuple[Path, Float[np.ndarray, "N 1 512"]]:
    """The run of the Bonn table, made if missing, and its overlapping windows, standardised."""
    table = Path(os.environ["REFERENCE_DATA"]) / "eeg" / "bonn.npz"
    results = make("bonn", f"raw_ieeg_root={table}")
    (run,) = runs_of(results)
    cfg = load_resolved_cascade(run.parent / "config.yaml")
    channel = read_parquet(Path(cfg.data.root) / "channels.parquet", ("mean", "scale")).iloc[0]
    signal = (overlapping_records(table) - channel["mean"]) / channel["scale"]
    return run, signal.astype(np.float32)[:, None]


def bonn_figures() -> list[Figure]:
    """Overlapping windows of every Bonn record through both executors, simple and complex network and route bit."""
    if not os.environ.get("REFERENCE_DATA"):
        print("REFERENCE_DATA is not set: the Bonn rows are left out")
        return []
    run, signal = bonn_signal()
    wrong, seconds = disagreements(run, signal)
    print(f"Bonn: simple model {read_json(run / 'quantised.json')['simple_model']}, {seconds:.0f} s for both executors")
    return [
        Figure("Bonn: overlapping windows compared", float(len(signal)), "windows", 10_000, "higher"),
        Figure("Bonn: integer model differs from QAT", float(wrong), "windows", 0, "lower"),
        Figure("Bonn: time of QAT in float64 and numpy", seconds, "s", 180, "lower"),
    ]


def bench_figures(results: Path) -> list[Figure]:
    """The integer cascade against the trained one, on the test recordings of all patients and seeds."""
    seeds = finished_seeds(results / QUANTISED)
    test = paired_predictions(results, seeds)
    loss = balanced_accuracy_loss(test, TOLERATED_LOSS)
    metrics = pd.concat([read_parquet(seed / "metrics.parquet") for seed in seeds], ignore_index=True)
    means = metrics[metrics["split"] == "test"].groupby(["arm", "metric"])["value"].mean()
    print(f"bench: loss {100 * loss.loss.mean:+.2f} points over {len(test)} test windows")
    for arm in ("float", "qat", "integer"):
        figures = ", ".join(f"{name} {means[arm, name]:.4f}" for name in ("balanced_accuracy", "auc", "call_rate"))
        print(f"bench: {arm:8} {figures}")
    wrong = sum(read_json(run / "quantised.json")["mismatches"] for run in runs_of(results))
    return [
        Figure("bench: QAT loses balanced accuracy, upper bound", 100 * loss.upper_bound, "points", 1.0, "lower"),
        Figure("bench: integer model differs from QAT", float(wrong), "windows", 0, "lower"),
    ]


def main() -> None:
    """Make what is missing, measure, print, write."""
    # They build on this module.
    from benchmarks import quantised_backends as back_ends
    from benchmarks import quantised_rtl as rtl

    arguments = parse_json_flag(__doc__)
    demo = make("demo")
    figures = [*demo_figures(demo), *bonn_figures(), *bench_figures(make("bench"))]
    figures += [*back_ends.demo_figures(demo), *back_ends.bonn_figures(), *back_ends.speed_figures(demo)]
    figures += rtl.demo_figures(demo)
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
