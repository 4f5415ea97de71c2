"""A receipt per finished video: what it was made from and with, so that a stage killed anywhere resumes.

The receipt is written last, after the files it vouches for.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from ..artifacts import read_json, sha256_of_file, write_json


class Receipt(TypedDict):
    """`source` identifies what the files were made from, `settings` how, `row` is the video's table row."""

    source: dict[str, Any]
    settings: dict[str, Any]
    row: dict[str, Any]


def write_receipt(path: Path, source: Mapping[str, Any], settings: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Write a receipt atomically."""
    write_json(path, {"source": dict(source), "settings": dict(settings), "row": dict(row)})


def read_receipt(path: Path) -> Receipt | None:
    """The receipt, or None if there is none."""
    if not path.is_file():
        return None
    receipt: Receipt = read_json(path)
    return receipt


def source_of(path: Path) -> dict[str, Any]:
    """What identifies a raw file: size in bytes, modification time in ns, SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    return {**_stamp(path), "sha256": sha256_of_file(path)}


def is_same_file(source: Mapping[str, Any], path: Path) -> bool:
    """Whether `path` is what `source` describes: same size and time, or else the same SHA-256 (it was copied).

    A file that cannot be read is not.
    """
    try:
        if all(source.get(key) == value for key, value in _stamp(path).items()):
            return True
        return "sha256" in source and source["sha256"] == sha256_of_file(path)
    except OSError:
        return False


def _stamp(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def remove_leftovers(target: Path) -> None:
    """Delete temporary files and folders of `target` that a killed process left beside it."""
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
