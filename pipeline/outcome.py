"""What a workflow run came to: where to look, or what went wrong, told from its own log."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_LINES = 15
ERROR_IN_RULE = re.compile(r"^Error in rule (\w+):", re.MULTILINE)
LOG_LINE = re.compile(r"^\s+log: (.+?) \(check log file", re.MULTILINE)


def success_summary(results: Path | str) -> str:
    """Where the results are: the report, or the folder while there is none."""
    page = Path(results) / "report" / "index.html"
    return f"done; open {page}" if page.is_file() else f"done; see {results}/"


def failure_summary(workflow_log: Path | str) -> str:
    """The failed rules, and the last lines of each job's log.

    Args:
        workflow_log: Snakemake's own log file (`log` in an `onerror:` block).
    """
    text = Path(workflow_log).read_text(errors="replace")
    parts = []
    for match in ERROR_IN_RULE.finditer(text):
        logs = LOG_LINE.search(text, match.end())
        path = Path(logs.group(1).split(", ")[0]) if logs else None
        parts.append(f"rule {match.group(1)} failed" + (f"; the end of {path}:\n{_tail(path)}" if path else ""))
    return "\n\n".join(dict.fromkeys(parts)) or f"the workflow stopped; see {workflow_log}"


def _tail(path: Path) -> str:
    if not path.is_file():
        return "    (no log was written)"
    lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(f"    {line}" for line in lines)
