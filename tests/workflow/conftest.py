"""A finished `tiny` run in a copy of the project, made once and shared by the workflow tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workflow.project_copy import copy_project, snakemake


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of the project; nothing has run in it."""
    return copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with preset tiny made from nothing."""
    folder = copy_project(tmp_path_factory.mktemp("finished"))
    done = snakemake(folder, "--cores", "2")
    assert done.code == 0, done.text[-6000:]
    return folder


@pytest.fixture
def edited(finished: Path) -> Iterator[Callable[[str, str], None]]:
    """Append text to a file of the finished copy; undone after the test."""
    originals: dict[Path, bytes] = {}

    def edit(name: str, text: str) -> None:
        path = finished / name
        originals.setdefault(path, path.read_bytes())
        path.write_text(path.read_text() + text)

    yield edit
    for path, content in originals.items():
        path.write_bytes(content)
