"""Run every benchmark and keep its figures: `python -m benchmarks` writes `benchmarks/results/<name>.json`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.artifacts import write_text
from pipeline.machine import machine_line

NAMES = (
    "loader", "workflow", "training", "pruning", "mapping", "layout", "proxy", "hardware_loss", "version_c", "cascade",
    "quantised", "faults", "report",
)  # fmt: skip
RESULTS = Path("benchmarks/results")


def main() -> None:
    """Run them one after the other, so that none disturbs another."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--json", RESULTS / f"{name}.json"], check=True)
    write_text(RESULTS / "machine.txt", machine_line() + "\n")


if __name__ == "__main__":
    main()
