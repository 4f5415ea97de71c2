"""What every benchmark shares: a figure with its bar, the printed table, and fair timing."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import write_json
from pipeline.machine import machine_line


@dataclass(frozen=True)
class Figure:
    """One measured value and the bar it must reach; `better` is `lower` or `higher`."""

    figure: str
    value: float
    unit: str
    bar: float
    better: str

    @property
    def ok(self) -> bool:
        """Whether the bar is reached."""
        return bool(self.value <= self.bar if self.better == "lower" else self.value >= self.bar)

    def row(self) -> dict[str, str | float | bool]:
        """The figure as it is written to JSON."""
        return {
            "figure": self.figure,
            "value": float(self.value),
            "unit": self.unit,
            "bar": self.bar,
            "better": self.better,
            "ok": self.ok,
        }


def report(figures: list[Figure], json_path: Path | None) -> None:
    """Print the table and, if a path is given, write it as JSON."""
    print(machine_line())
    width = max(len(figure.figure) for figure in figures)
    for figure in figures:
        sign = "<=" if figure.better == "lower" else ">="
        value = f"{figure.value:>10.4g} {figure.unit:<10}"
        print(f"{figure.figure:<{width}}  {value} bar {sign} {figure.bar:<8.4g} {'ok' if figure.ok else 'MISSED'}")
    if json_path is not None:
        write_json(json_path, [figure.row() for figure in figures])


def interleaved_median_s(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median wall seconds of each function, called in turn so that a noisy machine disturbs all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def parse_json_flag(description: str) -> argparse.Namespace:
    """Parse the one flag every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()
