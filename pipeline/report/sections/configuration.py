"""How the experiments' configurations differ: keys in rows, experiments in columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from ..blocks import Cell, Column, Prose, Section, Table, text_column
from ..context import BASELINE, Context
from ..tables import Arm

IDENTITY = ("preset", "experiment", "seed")


def section(context: Context) -> Section:
    """The comparison table; keys that are equal everywhere are hidden at first."""
    if not context.finished:
        return Section("configuration", "Configurations", (Prose(Markup("Not run: there is nothing to compare.")),))
    settings = {arm.short_name: flatten(arm.runs[0].config.model_dump(mode="json")) for arm in context.finished}
    data = pd.DataFrame(settings).drop(index=list(IDENTITY))
    data = data.map(_text).rename_axis("key").reset_index()
    reference = _reference(context.finished)
    names = list(settings)
    table = Table(
        "configurations",
        "Configurations compared",
        f"Settings of each experiment's first seed, without names and seeds. In bold: differs from {reference}.",
        data,
        (text_column("key", "Key"), *(_column(name, reference) for name in names)),
        filterable=True,
        hide_rows=lambda row: len({row[name] for name in names}) == 1,
        hide_label="Differences only",
    )
    return Section("configuration", "Configurations", (table,))


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"data": {"root": "x"}}` becomes `{"data.root": "x"}`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _reference(arms: tuple[Arm, ...]) -> str:
    return next((arm for arm in arms if arm.name == BASELINE), arms[0]).short_name


def _column(name: str, reference: str) -> Column:
    def cell(row: dict[str, Any]) -> Cell:
        changed = row[name] != row[reference]
        return Cell(f"• {row[name]}" if changed else row[name], row[name], kind="changed" if changed else "code")

    return Column(name, cell)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
