"""The DAG as its users meet it: every name plans, edits rerun exactly what depends on them, errors are clear."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts import read_parquet
from pipeline.experiments import available, load_catalogue, resolve_experiment
from tests.workflow.project_copy import planned, snakemake

pytestmark = pytest.mark.slow
VIDEO = "EXP-P1V-1-dense-multiscale"


def test_every_name_plans_in_an_empty_folder(project: Path) -> None:
    names = [*available("tiny"), *load_catalogue().phases, "demo_data", "report", "all"]
    done = snakemake(project, "-n", "--quiet", "--", *names)
    assert done.code == 0, done.text


def test_one_experiment_plans_only_what_it_needs(project: Path) -> None:
    jobs = planned(snakemake(project, "-n", "--", VIDEO).text)
    assert jobs["train_single_device"] == 1
    assert jobs["preprocess_audio"] == 0
    assert jobs["make_report"] == 0
    assert jobs["extract_frames"] == 1


def test_all_makes_every_experiment_and_the_report(finished: Path) -> None:
    for name in available("tiny"):
        table = read_parquet(finished / "results/tiny" / name / "metrics.parquet")
        assert {"val", "test"} <= set(table["split"]) <= {"val", "test", "all"}
        assert table["value"].notna().all()
        assert table.loc[table["unit"] == "share", "value"].between(0, 1).all()
    page = (finished / "results/tiny/report/index.html").read_text()
    assert all(name in page for name in available("tiny"))


def test_second_run_does_nothing(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "--cores", "2").text


def test_second_run_does_nothing_from_whichever_folder_it_is_called(finished: Path) -> None:
    from_results = snakemake(finished / "results", "-n", "--snakefile", "../Snakefile", "--directory", "..")
    assert "Nothing to be done" in from_results.text


def test_export_folders_verify_themselves_as_the_workflow_left_them(finished: Path) -> None:
    folders = sorted(finished.glob("results/tiny/EXP-C5-export-verify/seed*/*/export"))
    assert folders
    for folder in folders:
        command = ["make", "verify", f"PYTHON={sys.executable}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_edit_of_audio_code_replans_audio_and_its_training_only(finished: Path, edited) -> None:
    edited("pipeline/data/audio.py", "\nEDITED = True\n")
    done = snakemake(finished, "-n")
    jobs = planned(done.text)
    assert jobs["preprocess_audio"] == 1
    audio = {name for name in available("tiny") if resolve_experiment(name, "tiny", 0).data.use_audio}
    trained = re.findall(r"rule train_single_device:.*?wildcards: experiment=([^,\s]+)", done.text, flags=re.DOTALL)
    assert set(trained) == audio
    assert jobs["train_single_device"] == len(audio)
    assert jobs["extract_frames"] == jobs["make_demo_data"] == jobs["resolve_config"] == 0


def test_edit_of_model_code_replans_training_and_no_data(finished: Path, edited) -> None:
    edited("pipeline/models/vit_blocks.py", "\nEDITED = True\n")
    jobs = planned(snakemake(finished, "-n").text)
    assert jobs["train_single_device"] + jobs["train_version_c"] == len(available("tiny"))
    assert jobs["extract_frames"] == jobs["preprocess_audio"] == 0


def test_edit_of_report_code_replans_the_report_only(finished: Path, edited) -> None:
    edited("pipeline/report/page.py", "\nEDITED = True\n")
    assert set(planned(snakemake(finished, "-n").text)) == {"make_report", "all"}


def test_new_label_recomputes_nothing(finished: Path, edited) -> None:
    edited("configs/ast2_ucf101_dense.yaml", "")
    path = finished / "configs/ast2_ucf101_dense.yaml"
    path.write_text(path.read_text().replace("title: Dense", "title: Very dense"))
    assert "Very dense" in path.read_text()
    assert "Nothing to be done" in snakemake(finished, "-n").text


def test_changed_setting_reruns_only_experiments_that_use_it(finished: Path, edited) -> None:
    edited("configs/ast2_ucf101_dense_noscale.yaml", "model: {drop_rate: 0.1}\n")
    done = snakemake(finished, "-n")
    jobs = planned(done.text)
    assert jobs["resolve_config"] == 1
    assert jobs["train_single_device"] == 1
    assert "EXP-P1V-2-dense-noscale" in done.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "preset=dmeo"], "did you mean 'demo'"),
        (["--config", "preset=tiny", "raw_video_rot=x"], "unknown key 'raw_video_rot'; did you mean 'raw_video_root'?"),
        (["--config", "preset=clips"], "raw_video_root=FOLDER"),
        (["--config", "preset=clips", "raw_video_root=nowhere"], "raw_video_root=nowhere: no such folder"),
        (["--config", "preset=tiny", "from_frames=true"], "generates its own clips"),
        (["--config", "preset=ucf101", "from_frames=true"], "from_frames=true: no such folder"),
        (["--config", "preset=tiny", "shards=0"], "shards=0: input should be greater than 0"),
    ],
)
def test_wrong_workflow_settings_stop_before_the_dag(project: Path, arguments: list[str], message: str) -> None:
    done = snakemake(project, "-n", *arguments)
    assert done.code != 0
    assert message in done.text
    assert "Traceback" not in done.text


def test_misspelled_key_in_an_experiment_file_names_file_and_key(project: Path) -> None:
    path = project / "configs/ast2_ucf101_dense.yaml"
    original = path.read_text()
    try:
        path.write_text(original + "model: {embed_dimm: 32}\n")
        done = snakemake(project, "-n")
    finally:
        path.write_text(original)
    assert done.code != 0
    assert "ast2_ucf101_dense.yaml: unknown key 'model.embed_dimm'; did you mean 'embed_dim'?" in done.text
