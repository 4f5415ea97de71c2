"""The report: one self-contained page, its figures as SVG and its tables as Parquet and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from ..artifacts import atomic_path, write_parquet, write_text
from ..errors import DataError
from .blocks import Block, Figure, Picker, Section, Table
from .context import read_context
from .rendering import json_for_script, svg_of, vega_bundle
from .sections import SECTIONS
from .templating import read_asset, render_template
from .theme import palette_css


def make_report(results: Path, out: Path, *, preset: str | None = None) -> None:
    """Write `out/index.html`, `out/figures/*.svg` and `out/tables/*.{parquet,csv}` from the artefacts in `results`.

    Args:
        results: a preset's results folder, `results/<preset>`; what is not there shows as not run.
        out: the report folder.
        preset: the preset's name; by default what the runs say, and without runs the folder's name.

    Raises:
        ConfigError: `results` belongs to no preset.
        DataError: an artefact is damaged, or the folder cannot be written.
    """
    context = read_context(results, preset)
    sections = [make(context) for make in SECTIONS]
    figures = {figure.name: figure for figure in _figures(sections)}
    pictures = {name: svg_of(figure.spec, name) for name, figure in figures.items()}
    for name, picture in pictures.items():
        write_text(out / "figures" / f"{name}.svg", picture)
        _write_table(out, name, figures[name].data)
    for table in _tables(sections):
        _write_table(out, table.name, table.data)
    write_text(out / "index.html", _page(context.preset_name, sections, figures, pictures))


def _page(preset: str, sections: list[Section], figures: dict[str, Figure], pictures: dict[str, str]) -> str:
    return render_template(
        "page.html.jinja",
        title=f"chipweave report, preset {preset}",
        preset=preset,
        sections=sections,
        pictures={name: Markup(picture) for name, picture in pictures.items()},
        specs={name: json_for_script(figure.spec) for name, figure in figures.items()},
        style=Markup(palette_css()) + read_asset("style.css"),
        script=read_asset("script.js"),
        vega=Markup(vega_bundle()) if figures else Markup(""),
    )


def _write_table(out: Path, name: str, table: pd.DataFrame) -> None:
    write_parquet(out / "tables" / f"{name}.parquet", table)
    with atomic_path(out / "tables" / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False)


def _blocks(sections: list[Section]) -> Iterator[Block]:
    for section in sections:
        for block in section.blocks:
            yield block
            if isinstance(block, Picker):
                yield from (figure for _, figure in block.options)


def _figures(sections: list[Section]) -> Iterator[Figure]:
    names: set[str] = set()
    for block in _blocks(sections):
        if isinstance(block, Figure):
            if block.name in names:
                raise DataError(f"two figures of the report are called {block.name}; rename one of the runs")
            names.add(block.name)
            yield block


def _tables(sections: list[Section]) -> Iterator[Table]:
    return (block for block in _blocks(sections) if isinstance(block, Table))
