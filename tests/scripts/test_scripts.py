"""Scripts as their users call them: light starts, exit codes, messages that help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(path.stem for path in Path("scripts").glob("*.py") if path.stem not in ("__init__", "run_workflow"))
HEAVY = ("torch", "librosa", "altair", "matplotlib", "lightning_fabric")
CFG = "configs/ast2_ucf101_dense.yaml"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_loads_nothing_heavy(script: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{script}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('scripts.{script}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    assert done.stdout.rstrip().endswith("HEAVY []")


def test_planning_the_workflow_loads_nothing_heavy() -> None:
    code = (
        "import sys, pipeline.experiments, pipeline.workflow_settings, pipeline.outcome, pipeline.sources\n"
        f"assert not [name for name in {(*HEAVY, 'pandas', 'numpy')!r} if name in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --cfg FILE"),
        (("--cfg", "configs/nothing.yaml"), "configs/nothing.yaml: no such file"),
        (("--cfg", CFG, "--set", "training.lrr=1"), "unknown key 'training.lrr'; did you mean 'lr'?"),
        (("--cfg", CFG, "--set", "training.lr"), "expected section.key=value"),
        (("--cfg", CFG, "--preset", "dem"), "did you mean 'demo'?"),
        (("--experiment", "EXP-P1V-1-dense-multiscal"), "did you mean 'EXP-P1V-1-dense-multiscale'?"),
        (("--cfg", CFG, "--set", "training.mode=version_c_full"), "set hw.mode to version_c_full"),
    ],
)
def test_bad_arguments_end_with_code_2_and_one_message(arguments: tuple[str, ...], message: str) -> None:
    done = run("scripts.run_ast2_ucf101", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_demo_data_names_the_command_that_makes_it(tmp_path: Path) -> None:
    done = run(
        "scripts.run_ast2_ucf101", "--cfg", CFG, "--set", f"data.root={tmp_path}/none", "--out", str(tmp_path / "x")
    )
    assert done.returncode == 2, done.stderr
    assert "snakemake --cores all" in done.stderr
    assert "demo_data" in done.stderr
    assert done.stdout.splitlines()[0] == f"preset demo | data {tmp_path}/none | output {tmp_path}/x"


def test_a_resolved_config_refuses_flags_that_contradict_it(tmp_path: Path) -> None:
    resolved = tmp_path / "config.yaml"
    made = run(
        "scripts.resolve_config",
        "--preset",
        "tiny",
        "--experiment",
        "EXP-P1V-2-dense-noscale",
        "--seed",
        "3",
        "--out",
        str(resolved),
    )
    assert made.returncode == 0, made.stderr
    done = run("scripts.run_ast2_ucf101", "--cfg", str(resolved), "--seed", "4")
    assert done.returncode == 2
    assert "is a resolved config" in done.stderr
