"""The report: one self-contained page, its figures as SVG and its tables as Parquet and CSV."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from ..artifacts import atomic_path, write_parquet, write_text
from ..errors import DataError
from .blocks import Block, Figure, Html, Picker, Section, Table
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
    # vl-convert holds the interpreter lock: a second process draws while this one prepares the next section.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as drawing:
        bundle = drawing.submit(vega_bundle)
        context = read_context(results, preset)
        sections: list[Section] = []
        figures: dict[str, Figure] = {}
        drawn: dict[str, Future[str]] = {}
        for make in SECTIONS:
            sections.append(make(context))
            for figure in _figures(sections[-1]):
                if figure.name in figures:
                    raise DataError(f"two figures of the report are called {figure.name}; rename one of the runs")
                figures[figure.name] = figure
                drawn[figure.name] = drawing.submit(svg_of, figure.spec, figure.name)
        sections = with_findings(sections)
        for table in _tables(sections):
            _write_table(out, table.name, table.data)
        for name, figure in figures.items():
            _write_table(out, name, figure.data)
            write_text(out / "figures" / f"{name}.svg", drawn[name].result())
        pictures = {name: picture.result() for name, picture in drawn.items()}
        vega = bundle.result() if figures else ""
    write_text(out / "index.html", _page(context.preset_name, sections, figures, pictures, vega))


def with_findings(sections: list[Section]) -> list[Section]:
    """The sections, the first of which now also says what the others found, above its last block."""
    first, *others = sections
    found = [section for section in others if section.finding]
    if not found:
        return sections
    findings = Html(render_template("findings.html.jinja", sections=found))
    return [replace(first, blocks=(*first.blocks[:-1], findings, *first.blocks[-1:])), *others]


def _page(preset: str, sections: list[Section], figures: dict[str, Figure], pictures: dict[str, str], vega: str) -> str:
    return render_template(
        "page.html.jinja",
        title=f"chipweave report, preset {preset}",
        preset=preset,
        sections=sections,
        pictures={name: Markup(picture) for name, picture in pictures.items()},
        specs={name: json_for_script(figure.spec) for name, figure in figures.items()},
        style=Markup(palette_css()) + read_asset("style.css"),
        script=read_asset("script.js"),
        vega=Markup(vega),
    )


def _write_table(out: Path, name: str, table: pd.DataFrame) -> None:
    write_parquet(out / "tables" / f"{name}.parquet", table)
    with atomic_path(out / "tables" / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False)


def _blocks(section: Section) -> Iterator[Block]:
    for block in section.blocks:
        yield block
        if isinstance(block, Picker):
            yield from (figure for _, figure in block.options)


def _figures(section: Section) -> Iterator[Figure]:
    return (block for block in _blocks(section) if isinstance(block, Figure))


def _tables(sections: list[Section]) -> Iterator[Table]:
    return (block for section in sections for block in _blocks(section) if isinstance(block, Table))
