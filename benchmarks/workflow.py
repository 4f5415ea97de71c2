"""How fast the workflow plans, finishes and does nothing: `python -m benchmarks.workflow --json OUT`.

Runs the real Snakefile in temporary folders: `tiny` and `demo` from nothing, first the dense experiments alone (the
part that has a bar) and their report, then all the rest; a second run of each; and a plan over a folder of 13,320
(empty) videos named as UCF101's. CPU seconds count snakemake and its children: the least of three calls in a row,
since what else runs on a machine can only add to them.
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
from pipeline.experiments import available

ROOT = Path(__file__).resolve().parents[1]
UCF101_VIDEOS = 13_320
CLASSES = 101
NOTHING = "Nothing to be done"
DRY_RUN = "This was a dry-run"
CALLS = 3


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


def least_cpu_s(folder: Path, *arguments: str, expected: str) -> float:
    """CPU seconds of a call that leaves everything as it is, whose output has to have `expected` in it."""
    calls = [snakemake(folder, *arguments) for _ in range(CALLS)]
    for _, _, output in calls:
        if expected not in output:
            raise RuntimeError(f"{' '.join(arguments)}: expected {expected!r}, but\n{output[-4000:]}")
    print(f"{' '.join(arguments)}: " + ", ".join(f"{cpu_s:.2f}" for cpu_s, _, _ in calls) + " CPU s")
    return min(cpu_s for cpu_s, _, _ in calls)


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
        demo_cpu_s = least_cpu_s(folder, "-n", "--quiet", "all", expected=DRY_RUN)
        raw = empty_ucf101(folder)
        ucf101 = ("preset=ucf101", f"raw_video_root={raw}", f"splits_root={folder}")
        real_cpu_s = least_cpu_s(folder, "-n", "--quiet", "all", "--config", *ucf101, expected=DRY_RUN)
    return [
        Figure("snakemake -n, demo", demo_cpu_s, "CPU s", 3.0, "lower"),
        Figure(f"snakemake -n, {UCF101_VIDEOS} videos in shards", real_cpu_s, "CPU s", 10.0, "lower"),
    ]


def dense_experiments(preset: str) -> list[str]:
    """Names of the experiments that train a dense network from scratch, or only test one of them again."""
    return [
        name
        for name, entry in available(preset).items()
        if "_dense" in Path(entry.config).stem
        and (entry.init_from is None or entry.overrides.get("training.num_epochs") == 0)
    ]


def run_figures(preset: str, dense_bar_s: float, bar_s: float) -> list[Figure]:
    """Wall seconds from nothing, on two cores, of the dense experiments and of all; CPU seconds of a second run."""
    cores = ("--cores", str(min(2, os.cpu_count() or 1)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = (*cores, "--config", f"preset={preset}")
        _, dense_s, _ = snakemake(folder, *dense_experiments(preset), *arguments)
        report_s = seconds_of_report(folder / "results" / preset, preset)
        _, rest_s, _ = snakemake(folder, *arguments)
        again_cpu_s = least_cpu_s(folder, *arguments, expected=NOTHING)
        if not (folder / "results" / preset / "report" / "index.html").is_file():
            raise RuntimeError(f"{preset} made no report")
    return [
        Figure(
            f"{preset}: dense experiments and their report from nothing", dense_s + report_s, "s", dense_bar_s, "lower"
        ),
        Figure(f"{preset}: everything from nothing", dense_s + rest_s, "s", bar_s, "lower"),
        Figure(f"second run of {preset}: {NOTHING}", again_cpu_s, "CPU s", 3.0, "lower"),
    ]


def seconds_of_report(results: Path, preset: str) -> float:
    """Wall seconds of a report of what there is."""
    command = [sys.executable, "-m", "scripts.make_report", "--preset", preset]
    command += ["--results", str(results), "--out", str(results.parent / "dense_report")]
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    arguments = parse_json_flag(__doc__ or "")
    figures = planning_figures() + run_figures("tiny", 60.0, 90.0) + run_figures("demo", 360.0, 900.0)
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
