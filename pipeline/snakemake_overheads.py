"""What Snakemake 9 spends time on that this workflow has no use for, switched off."""

from __future__ import annotations

from typing import Any


def wake_scheduler_for_news_only(workflow: Any) -> None:
    """Take Snakemake's limit of jobs per second off a run on this machine.

    To keep the limit, Snakemake 9 plans one more wake-up per second each time it wakes, so that with every finished
    job its scheduler turns faster: after a hundred jobs it takes a quarter of a core. Clusters keep their limit.
    """
    if workflow.local_exec and getattr(workflow.scheduler, "job_rate_limiter", None) is not None:
        workflow.scheduler.job_rate_limiter = None


def record_parameters_without_pandas() -> None:
    """Keep Snakemake from importing pandas, which takes half a second, to ask whether a parameter is a table of it.

    Parameters of this workflow are text, numbers, lists and dictionaries; what is recorded of those stays the same.
    """
    from snakemake.persistence import PersistenceBase

    if hasattr(PersistenceBase, "_serialize_param_pandas"):
        PersistenceBase._serialize_param_pandas = PersistenceBase._serialize_param_builtin
