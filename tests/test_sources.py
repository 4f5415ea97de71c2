"""Code dependencies follow imports, and only those that run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts import read_json, write_json
from pipeline.sources import relative, sources


def names(module: str) -> set[str]:
    return set(sources(module))


@pytest.mark.parametrize("module", ["pipeline.data.frames", "pipeline.data.audio", "pipeline.experiments"])
def test_sources_equal_what_python_really_loads(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'pipeline' and m.__file__))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {str(Path(path).relative_to(Path.cwd())) for path in loaded} <= names(module)


def test_audio_is_no_dependency_of_video_training() -> None:
    training = names("pipeline.trainer.trainer_single_device")
    assert "pipeline/data/audio.py" not in training
    assert {"pipeline/data/ucf101.py", "pipeline/models/build.py", "pipeline/artifacts.py"} <= training


def test_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pipeline\.nothing"):
        sources("pipeline.nothing")


def test_paths_are_absolute_outside_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = sources("pipeline.errors")
    monkeypatch.chdir(tmp_path)
    assert [Path(path).is_absolute() for path in (*inside, *sources("pipeline.errors"))] == [False] * 2 + [True] * 2


def test_a_file_has_one_name_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "results").mkdir(parents=True)
    (checkout / "Snakefile").touch()
    (tmp_path / "link").symlink_to(checkout)
    ways = [checkout, checkout / "results" / "..", tmp_path / "link"]
    monkeypatch.chdir(tmp_path / "link")
    assert {relative(way / "Snakefile") for way in ways} == {"Snakefile"}
    monkeypatch.chdir(checkout / "results")
    assert {relative(way / "Snakefile") for way in ways} == {str(checkout / "Snakefile")}


def asked_in(folder: Path) -> set[str]:
    code = "from pipeline.sources import sources; print('\\n'.join(sources('pipeline.artifacts')))"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    return {Path(line).name for line in done.stdout.split()}


def test_each_file_is_parsed_once_and_again_when_it_was_edited(tmp_path: Path) -> None:
    shutil.copytree("pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    kept = tmp_path / "pipeline" / "__pycache__" / "imports.json"
    asked = asked_in(tmp_path)
    artifacts = next(key for key in read_json(kept) if key.endswith("artifacts.py"))

    forgot = read_json(kept)
    forgot[artifacts]["imports"] = []
    write_json(kept, forgot)
    assert asked_in(tmp_path) == {"artifacts.py", "__init__.py"} < asked

    forgot[artifacts]["stamp"] = [0, 0]
    write_json(kept, forgot)
    assert asked_in(tmp_path) == asked
