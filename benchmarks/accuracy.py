"""Accuracy figures of the trained experiments: presets `demo` (one seed) and `bench` (five).

Snakemake makes the experiments first, which does nothing where they are up to date; `bench` from nothing takes about
half an hour on two cores.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure
from pipeline.report.accuracy import accuracy, check_at_chance, difference
from pipeline.report.context import Context, read_context

DENSE = "EXP-P1V-1-dense-multiscale"
LATE = "EXP-P1AV-1-av-dense-late-fusion"
AT_CHANCE = ("EXP-P1V-C1-scrambled-labels", "EXP-P1V-C2-background-only")


def make(preset: str, *targets: str) -> Context:
    """Make experiments of a preset and read them."""
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--quiet", "all", "--rerun-incomplete"]
    subprocess.run([*command, "--config", f"preset={preset}", "--", *targets], check=True)
    return read_context(Path("results") / preset)


def accuracy_figures() -> list[Figure]:
    """Dense video and its controls on `demo`, late fusion against video on `bench`."""
    demo = make("demo", DENSE, *AT_CHANCE)
    figures = [
        Figure("demo: video-level accuracy of dense V", demo.estimates[DENSE].accuracy.mean, "share", 0.60, "higher")
    ]
    for name in AT_CHANCE:
        check = check_at_chance(demo.arm(name), demo.estimates[name].accuracy.mean, demo.chance)
        distance = abs(check.standard_errors)
        figures.append(Figure(f"demo: {name}, distance from chance", distance, "std errors", 2.0, "lower"))
    bench = make("bench", DENSE, LATE)
    gap = difference(bench.arm(LATE), bench.arm(DENSE))
    video, both = accuracy(bench.arm(DENSE)), accuracy(bench.arm(LATE))
    for name, interval in (("V", video), ("AV late fusion", both), ("difference", gap)):
        print(f"bench: {name} {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    figures.append(Figure("bench: AV late fusion minus V, lower 95 % bound", 100 * gap.low, "points", 0.0, "higher"))
    return figures
