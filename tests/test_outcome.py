"""The failure summary names each failed rule once and shows the end of its log."""

from __future__ import annotations

from pathlib import Path

from pipeline.outcome import failure_summary, success_summary


def test_summary_shows_rule_and_tail_of_its_log(tmp_path: Path) -> None:
    job_log = tmp_path / "job.txt"
    job_log.write_text("".join(f"line {k}\n" for k in range(40)))
    entry = f"Error in rule train:\n    jobid: 1\n    log: {job_log} (check log file(s) for error details)\n\n"
    (tmp_path / "workflow.log").write_text("noise\n" + entry + entry)
    summary = failure_summary(tmp_path / "workflow.log")
    assert summary.count("rule train failed") == 1
    assert "line 39" in summary
    assert "line 25" in summary
    assert "line 24" not in summary


def test_summary_without_a_failed_rule_points_to_the_log(tmp_path: Path) -> None:
    (tmp_path / "workflow.log").write_text("interrupted\n")
    assert str(tmp_path / "workflow.log") in failure_summary(tmp_path / "workflow.log")


def test_a_finished_run_names_the_report_only_where_there_is_one(tmp_path: Path) -> None:
    assert success_summary(tmp_path) == f"done; see {tmp_path}/"
    page = tmp_path / "report" / "index.html"
    page.parent.mkdir()
    page.touch()
    assert success_summary(tmp_path) == f"done; open {page}"
