"""How fast the workflow plans, finishes and does nothing: `python -m benchmarks.workflow --json OUT`.

Runs the real Snakefile in temporary folders: `tiny` and `demo` from nothing, a second run of each, and a plan
over a folder of 13,320 (empty) videos named as UCF101's. CPU seconds count snakemake and its children.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, parse_json_flag, report

ROOT = Path(__file__).resolve().parents[1]
UCF101_VIDEOS = 13_320
CLASSES = 101
NOTHING = "Nothing to be done"


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Run snakemake with `folder` as working directory: (CPU s, wall s, output)."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--scheduler",
        "greedy",
        "-s",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
        *arguments,
    ]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    output = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output[-4000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s, output


def empty_ucf101(folder: Path) -> Path:
    """A folder with as many (empty) videos as UCF101, named as there, and the lists' folder."""
    for video in range(UCF101_VIDEOS):
        number, label = divmod(video, CLASSES)
        group, clip = divmod(number, 6)
        name = folder / "UCF-101" / f"Class{label:03d}" / f"v_Class{label:03d}_g{group + 1:02d}_c{clip + 1:02d}.avi"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.touch()
    for stem in ("classInd", "trainlist01", "testlist01"):
        (folder / f"{stem}.txt").touch()
    return folder / "UCF-101"


def planning_figures() -> list[Figure]:
    """CPU seconds of a dry run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo_cpu_s, _, _ = snakemake(folder, "-n", "--quiet", "all")
        raw = empty_ucf101(folder)
        real_cpu_s, _, _ = snakemake(
            folder,
            "-n",
            "--quiet",
            "all",
            "--config",
            "preset=ucf101",
            f"raw_video_root={raw}",
            f"splits_root={folder}",
        )
    return [
        Figure("snakemake -n, demo", demo_cpu_s, "CPU s", 3.0, "lower"),
        Figure(f"snakemake -n, {UCF101_VIDEOS} videos in shards", real_cpu_s, "CPU s", 10.0, "lower"),
    ]


def run_figures(preset: str, bar_s: float) -> list[Figure]:
    """Wall seconds from nothing to the report, and CPU seconds of a second run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = ("--cores", str(min(2, os.cpu_count() or 1)), "--config", f"preset={preset}")
        _, wall_s, _ = snakemake(folder, *arguments)
        again_cpu_s, _, output = snakemake(folder, *arguments)
        if NOTHING not in output:
            raise RuntimeError(f"the second run of {preset} had something to do:\n{output[-4000:]}")
        if not (folder / "results" / preset / "report" / "index.html").is_file():
            raise RuntimeError(f"{preset} made no report")
    return [
        Figure(f"{preset} from nothing to the report, 2 cores", wall_s, "s", bar_s, "lower"),
        Figure(f"second run of {preset}: {NOTHING}", again_cpu_s, "CPU s", 3.0, "lower"),
    ]


def main() -> None:
    """Measure and print."""
    arguments = parse_json_flag(__doc__ or "")
    figures = planning_figures() + run_figures("tiny", 60.0) + run_figures("demo", 360.0)
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
