"""What is switched off in Snakemake changes nothing that it records."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipeline.snakemake_overheads import wake_scheduler_for_news_only

RECORD = """
import sys
from snakemake.persistence import PersistenceBase
from snakemake.persistence.file import FilePersistence
from pipeline.snakemake_overheads import record_parameters_without_pandas

as_it_was = PersistenceBase._serialize_param_pandas
record_parameters_without_pandas()
persistence = object.__new__(FilePersistence)
values = [None, True, 1, 0.5, "a", [1, "b"], (2, 3), {"a": {"b": [1]}}, {3}, b"x"]
recorded = [persistence._serialize_param(value) for value in values]
assert "pandas" not in sys.modules, "pandas was imported"
assert recorded == [as_it_was(persistence, value) for value in values]
assert recorded == [repr(value) for value in values]
"""


def test_parameters_are_recorded_as_before_and_without_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", RECORD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("local", "limiter_left"), [(True, False), (False, True)])
def test_jobs_per_second_are_limited_on_clusters_only(local: bool, limiter_left: bool) -> None:
    workflow = SimpleNamespace(local_exec=local, scheduler=SimpleNamespace(job_rate_limiter=object()))
    wake_scheduler_for_news_only(workflow)
    assert (workflow.scheduler.job_rate_limiter is not None) == limiter_left
