"""What a hardware loss buys: EXP-P1V-4 against EXP-P1V-3, and at equal FLOPs against the same budget without a chip.

Run: python -m benchmarks.hardware_loss --json OUT [--preset bench]

Snakemake makes the experiments first, which does nothing where they are up to date. Latency is predicted at batch 1 on
an a100 (the setting of the loss) and measured on this machine at d = 192; the throughput setting has no bar.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.accuracy import make
from benchmarks.figures import Figure, report
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.measure_designs import time_in_turns
from pipeline.hw_proxy.predict_hardware import HOST_WORKLOAD, KNOBS, SETTINGS, knob_table, price, read_design
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.hw_proxy.workload import KeepRatios
from pipeline.report.accuracy import difference
from pipeline.report.context import Context

WITHOUT, WITH, BUDGET = "EXP-P1V-3-ast-no-hw", "EXP-P1V-4-ast-hw", "EXP-P1V-C4-ast-flops-budget"
CHIP = "a100"
ROUNDS = 40
RESAMPLES = 2000


def designs_of(context: Context) -> dict[str, list[KeepRatios]]:
    """What the networks of each arm keep, one per seed."""
    return {
        name: [read_design(context.results / name / f"seed{seed}" / "design.json") for seed in context.preset.seeds]
        for name in (WITHOUT, WITH, BUDGET)
    }


def predicted(designs: dict[str, list[KeepRatios]], setting: str, quantity: str) -> dict[str, float]:
    """The mean over seeds of a predicted quantity of each arm."""
    chips = load_chip_library().select(CHIP)
    return {
        name: float(np.mean([price(SETTINGS[setting], keep, chips, RooflineProxy())[0][quantity] for keep in kept]))
        for name, kept in designs.items()
    }


def prediction_figures(designs: dict[str, list[KeepRatios]]) -> list[Figure]:
    """Predicted latency with hardware over without, beside FLOPs, and what each knob takes in either setting."""
    figures = []
    for setting in SETTINGS:
        latency, flops = (predicted(designs, setting, quantity) for quantity in ("latency_ms", "flops"))
        for other in (WITHOUT, BUDGET):
            ratio, cost = latency[WITH] / latency[other], flops[WITH] / flops[other]
            print(f"{setting}: {WITH} over {other}: latency {ratio:.3f}, FLOPs {cost:.3f}, per FLOP {ratio / cost:.3f}")
            if setting == "latency" and other == WITHOUT:
                figures.append(Figure(f"predicted latency on {CHIP}, batch 1, over {other}", ratio, "x", 0.95, "lower"))
    knobs = knob_table(
        {name: kept[0] for name, kept in designs.items()}, load_chip_library().select(CHIP), RooflineProxy()
    )
    for (name, setting), rows in knobs.groupby(["run", "setting"], sort=False):
        latency_ms = rows.set_index("knob")["latency_ms"]
        before = dict(zip(KNOBS, ("dense", *KNOBS[:-1]), strict=True))
        shares = {knob: 100 * (latency_ms[before[knob]] - latency_ms[knob]) / latency_ms["dense"] for knob in KNOBS}
        listed = ", ".join(f"{knob} {share:.1f}" for knob, share in shares.items())
        print(f"{setting}: {name}, first seed: percentage points off the dense latency: {listed}")
    return figures


def measured_figure(designs: dict[str, list[KeepRatios]]) -> Figure:
    """Upper 95 % bound of the measured ratio with over without hardware, at d = 192, over seeds and rounds."""
    ratios = []
    for with_hardware, without in zip(designs[WITH], designs[WITHOUT], strict=True):
        pair = {WITH: with_hardware, WITHOUT: without}
        seconds = time_in_turns(pair, HOST_WORKLOAD, threads=torch.get_num_threads(), repeats=ROUNDS)
        ratios.append(seconds[WITH] / seconds[WITHOUT])
    table, generator = np.stack(ratios), np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        seeds = generator.integers(0, len(table), len(table))
        rounds = generator.integers(0, ROUNDS, (len(table), ROUNDS))
        draws.append(np.median(table[seeds[:, None], rounds], axis=1).mean())
    middle = np.median(table, axis=1).mean()
    low, high = np.quantile(draws, [0.025, 0.975])
    print(f"measured here, d = 192, batch 1: {middle:.3f} [{low:.3f}, {high:.3f}] of {WITHOUT}")
    return Figure("measured host latency, upper 95 % bound", float(high), "x", 1.0, "lower")


def accuracy_figure(context: Context) -> Figure:
    """Lower 95 % bound of the accuracy with minus without hardware, in points."""
    gap = difference(context.arm(WITH), context.arm(WITHOUT))
    print(f"accuracy: {100 * gap.mean:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] against {WITHOUT}")
    return Figure("accuracy with minus without hardware, lower bound", 100 * gap.low, "points", -2.0, "higher")


def main() -> None:
    """Make the experiments and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--preset", default="bench", help="claims are made on bench; demo is a quick look")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    context = make(arguments.preset, WITHOUT, WITH, BUDGET)
    designs = designs_of(context)
    figures = [*prediction_figures(designs), accuracy_figure(context), measured_figure(designs)]
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
