"""What a stage makes its files with, beside its source: settings, code and libraries.

Receipts compare it, so an edit of the code makes everything again; its hash is a column of the stage's table, so
the table's content changes whenever the files may.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ..artifacts import fingerprint
from ..sources import sources_digest


def code_and_libraries(module: str, *libraries: str) -> dict[str, Any]:
    """A digest of `module` with all it imports from this package, and the versions of installed distributions."""
    return {"code": sources_digest(module), "libraries": {name: version(name) for name in libraries}}


def recipe_of(settings: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that identify the settings."""
    return fingerprint(dict(settings), 16)
