"""What all tests share: where reference data lie, and no unnoticed skips in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of real clips and instances named by REFERENCE_DATA; skips where it is absent."""
    name = os.environ.get("REFERENCE_DATA")
    if not name or not Path(name).is_dir():
        pytest.skip("REFERENCE_DATA does not name a folder with the reference data")
    return Path(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every skipped test, so that none goes unnoticed."""
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"SKIPPED {report.nodeid}: {report.longrepr[2]}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under CHIPWEAVE_FAIL_ON_SKIP a skipped test fails the session: CI has all that tests may ask for.

    The processes that xdist starts have no reporter; the one that started them counts for all.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    counts_here = reporter is not None
    if counts_here and os.environ.get("CHIPWEAVE_FAIL_ON_SKIP") and exitstatus == 0 and reporter.stats.get("skipped"):
        session.exitstatus = 1
