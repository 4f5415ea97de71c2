"""Running the real workflow in a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "rules", "workflow", "envs", "configs", "pipeline", "scripts")
JOB_LINE = re.compile(r"^(?:local)?rule (\S+):$", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What one command printed and returned."""

    code: int
    text: str


def copy_project(target: Path) -> Path:
    """Copy what a checkout needs to run, and what numba compiled, which takes a minute; no results."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy2(source, target / part)
    return target


def snakemake(folder: Path, *arguments: str) -> Done:
    """Run snakemake in `folder` on preset tiny unless told otherwise."""
    preset = [] if any(argument.startswith("preset") for argument in arguments) else ["--config", "preset=tiny"]
    command = [sys.executable, "-m", "snakemake", *preset, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout + done.stderr)


def planned(output: str) -> Counter[str]:
    """How many jobs of each rule a dry run lists."""
    return Counter(JOB_LINE.findall(output))
