"""A fabricated results folder and its report, made once for all tests of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.synthetic_results import fabricate
from pipeline.report.page import make_report


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with seven of the demo's experiments, two seeds each; treat as read-only."""
    return fabricate(tmp_path_factory.mktemp("results") / "demo")


@pytest.fixture(scope="session")
def report(results: Path) -> Path:
    """The report folder of `results`."""
    out = results.parent / "report"
    make_report(results, out)
    return out
