"""Kills at random moments: `python -m benchmarks.faults --json OUT [--kills 20]`.

Runs preset `tiny` once without disturbance, then again and again with SIGKILL after a random time to everything, to the
workflow alone (its jobs live on) or to its jobs, starting it again each time until it ends by itself; metrics must be
identical.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.figures import Figure, report
from benchmarks.workflow import ROOT
from pipeline.artifacts import read_parquet

PRESET = "tiny"
VICTIMS = ("everything", "everything", "workflow", "jobs")


def start(folder: Path) -> subprocess.Popen:
    """Start the workflow as `make run` does, in its own process group."""
    command = [sys.executable, "-m", "scripts.run_workflow", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", "2", "--config", f"preset={PRESET}"]
    log = (folder / "output.txt").open("a")
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def finish(folder: Path) -> float:
    """Run to the end; return wall seconds."""
    began = time.perf_counter()
    if start(folder).wait() != 0:
        raise RuntimeError((folder / "output.txt").read_text()[-4000:])
    return time.perf_counter() - began


def kill_after(folder: Path, seconds: float, victim: str) -> str | None:
    """Start, and kill `victim` after `seconds`; return the rule that was running, or None if the run had ended."""
    process = start(folder)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process, victim)
        process.wait()
        return running_stage(folder)
    if process.returncode != 0:
        raise RuntimeError((folder / "output.txt").read_text()[-4000:])
    return None


def kill(process: subprocess.Popen, victim: str) -> None:
    """SIGKILL everything, only the workflow (its jobs live on), or only its jobs (the workflow sees them fail)."""
    jobs = psutil.Process(process.pid).children(recursive=True)
    if victim == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "workflow" or not jobs:
        process.kill()
    else:
        for job in jobs:
            with contextlib.suppress(psutil.NoSuchProcess):
                job.kill()


def running_stage(folder: Path) -> str:
    """The rule whose start was announced last."""
    lines = [
        line for line in (folder / "output.txt").read_text().splitlines() if line.startswith(("rule ", "localrule "))
    ]
    return lines[-1].split()[1].rstrip(":") if lines else "planning"


def results(folder: Path) -> dict[str, list[tuple]]:
    """All metrics and predictions, as comparable values."""
    found = {}
    for name in ("metrics", "predictions", "history"):
        for path in sorted((folder / "results" / PRESET).glob(f"EXP-*/seed*/{name}.parquet")):
            table = read_parquet(path)
            found[str(path.relative_to(folder))] = list(table.itertuples(index=False, name=None))
    return found


def main() -> None:
    """Kill, resume, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        calm, stormy = Path(name) / "calm", Path(name) / "stormy"
        calm.mkdir()
        stormy.mkdir()
        whole_s = finish(calm)
        expected = results(calm)
        stages: Counter[str] = Counter()
        different = 0
        while sum(stages.values()) < arguments.kills:
            victim = chance.choice(VICTIMS)
            stage = kill_after(stormy, chance.uniform(2.0, 0.6 * whole_s), victim)
            if stage is not None:
                stages[stage] += 1
                print(f"kill {sum(stages.values())}: {victim} during {stage}", flush=True)
            else:
                different += results(stormy) != expected
                shutil.rmtree(stormy)
                stormy.mkdir()
        finish(stormy)
        different += results(stormy) != expected
    print(f"tiny undisturbed {whole_s:.0f} s; kills by stage: {dict(stages)}")
    report(
        [
            Figure("kills survived", sum(stages.values()), "kills", arguments.kills, "higher"),
            Figure("runs whose metrics differ from an uninterrupted run", different, "runs", 0, "lower"),
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
