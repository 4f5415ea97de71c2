"""How numbers are written for people."""

from __future__ import annotations

import pandas as pd

from .statistics import Interval

MINUS = "−"
SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """`0.713` as `71.3 %`."""
    return f"{100 * share:.1f}{SPACE}%"


def percent_bounds(interval: Interval) -> str:
    """The bounds of a share, e.g. `62.0 to 79.6 %`."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}{SPACE}%"


def points(share: float) -> str:
    """A difference of shares in percentage points with its sign, e.g. `+6.0`."""
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def point_bounds(interval: Interval) -> str:
    """The bounds of a difference, e.g. `+1.4 to +10.8`."""
    return f"{points(interval.low)} to {points(interval.high)}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def plural(count: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def labels(table: pd.DataFrame, pattern: str) -> list[str]:
    """One sentence per row; `pattern` names the columns, e.g. `{rule}: {wall_s:.1f} s`."""
    return [pattern.format(**{str(name): value for name, value in row.items()}) for row in table.to_dict("records")]
