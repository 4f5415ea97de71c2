"""EXPERIMENTS_VERSION_C.md agrees with the catalogue, and its commands mean what they say."""

from __future__ import annotations

import re
import shlex

import pytest

from pipeline.command_line import cascade_from_arguments, run_from_arguments, run_parser
from pipeline.config.loading import PROJECT_ROOT
from pipeline.experiments import TRAINING_SCRIPTS, Catalogue, load_catalogue
from pipeline.report.experiments_md import render, script_command, snakemake_command

CATALOGUE = load_catalogue()


def test_the_file_is_what_the_catalogue_renders() -> None:
    written = (PROJECT_ROOT / "EXPERIMENTS_VERSION_C.md").read_text()
    assert written == render(CATALOGUE), "run: python -m scripts.gen_experiment_cmds"


def test_every_experiment_stands_under_its_phase_with_purpose_config_and_command() -> None:
    text = render(CATALOGUE)
    sections = dict(
        zip([*CATALOGUE.phases, *CATALOGUE.groups], re.split(r"^## ", text, flags=re.MULTILINE)[1:], strict=True)
    )
    for name, entry in CATALOGUE.experiments.items():
        block = sections[entry.phase].split(f"### {name}\n")[1].split("\n### ")[0]
        for part in (entry.purpose, f"`{entry.config}`", f"snakemake --cores all {name}", f"scripts.{entry.script} "):
            assert part in block
        assert (entry.init_from or "") in block


TRAINED = [name for name, entry in CATALOGUE.experiments.items() if entry.script in TRAINING_SCRIPTS]


@pytest.mark.parametrize("name", TRAINED)
def test_the_script_command_resolves_to_its_experiment(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = script_command(name, CATALOGUE.experiments[name], "tiny")
    arguments = run_parser("").parse_args(shlex.split(command)[3:])
    if CATALOGUE.experiments[name].is_cascade:
        run, _ = cascade_from_arguments(arguments, name)
    else:
        run, _ = run_from_arguments(arguments)
    assert (run.experiment, run.preset) == (name, "tiny")


def test_targets_come_before_config_which_swallows_what_follows() -> None:
    assert snakemake_command("EXP-X", "clips", True) == (
        "snakemake --cores all EXP-X --config preset=clips raw_video_root=FOLDER"
    )


def test_rendering_is_pure_and_follows_the_catalogue() -> None:
    name, entry = next(iter(CATALOGUE.experiments.items()))
    changed = Catalogue(
        phases=CATALOGUE.phases, experiments={name: entry.model_copy(update={"overrides": {"training.lr": 0.5}})}
    )
    assert f"--experiment {name}" in render(changed)
    assert "`training.lr: 0.5`" in render(changed)
