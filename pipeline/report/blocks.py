"""What a report section is made of: prose, notices, tables, figures, pickers.

A section says what to show; `page.py` alone knows how it becomes HTML, SVG, Parquet and CSV.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from markupsafe import Markup

Kind = Literal["", "better", "worse", "muted", "code", "changed"]


@dataclass(frozen=True)
class Cell:
    """One table cell: text, a smaller second line, a key to sort by, and a kind never told by colour alone."""

    text: str
    sort: float | int | str | None = None
    note: str = ""
    kind: Kind = ""
    hint: str = ""
    href: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its heading, the cell made from a row (a dict of the data), and an explanation of the heading."""

    title: str
    cell: Callable[[dict[str, Any]], Cell]
    numeric: bool = False
    help: str = ""


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    html: Markup


@dataclass(frozen=True)
class Notice:
    """Something a reader must not miss."""

    kind: Literal["warning", "note"]
    html: Markup


@dataclass(frozen=True)
class Table:
    """A sortable table on the page, and the full data behind it as Parquet and CSV.

    Rows for which `hide_rows` holds are hidden while the switch called `hide_label` is on, as it is at first.
    """

    name: str
    title: str
    caption: str
    data: pd.DataFrame
    columns: tuple[Column, ...]
    filterable: bool = False
    hide_rows: Callable[[dict[str, Any]], bool] | None = None
    hide_label: str = ""


@dataclass(frozen=True)
class Figure:
    """A Vega-Lite figure with its caption, its description in words, and its table twin."""

    name: str
    title: str
    caption: str
    description: str
    spec: dict[str, Any]
    data: pd.DataFrame
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Html:
    """A fragment from a section's own template."""

    html: Markup


@dataclass(frozen=True)
class Picker:
    """Several figures of which the page shows the chosen one (all of them in print and without JavaScript)."""

    name: str
    label: str
    options: tuple[tuple[str, Figure], ...]


Block = Prose | Notice | Table | Figure | Html | Picker


@dataclass(frozen=True)
class Section:
    """A headed part of the page, and its main result in a sentence for the head of the page."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    finding: Markup | None = None


def text_column(key: str, title: str, explanation: str = "") -> Column:
    """A column of plain text; a missing value reads as a dash."""

    def cell(row: dict[str, Any]) -> Cell:
        value = row[key]
        return Cell("–", "") if is_missing(value) else Cell(str(value), str(value))

    return Column(title, cell, help=explanation)


def number_column(
    key: str,
    title: str,
    pattern: str = "{:,.4g}",
    scale: float = 1.0,
    explanation: str = "",
    missing: str = "–",
) -> Column:
    """A column of numbers times `scale`, written with `pattern`; a missing value reads as `missing`."""

    def cell(row: dict[str, Any]) -> Cell:
        value = row[key]
        if is_missing(value):
            return Cell(missing, None, kind="muted")
        return Cell(pattern.format(value * scale), float(value) * scale)

    return Column(title, cell, numeric=True, help=explanation)


def is_missing(value: object) -> bool:
    """Whether a table value is None, NaN or NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)
