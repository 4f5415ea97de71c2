"""The report's Jinja templates, with autoescape on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_template(name: str, **values: Any) -> Markup:
    """Fill a template of `templates/`."""
    return Markup(_environment().get_template(name).render(**values))


def read_asset(name: str) -> Markup:
    """A style sheet or script of `templates/`, as it is."""
    return Markup((FOLDER / name).read_text())
