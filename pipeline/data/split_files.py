"""The split files of a data folder: copies of what was given, else written from the videos that are there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts import write_bytes, write_text
from ..errors import DataError
from .splits import (
    CLASS_INDEX,
    LIST_NAMES,
    TEST_LIST,
    TRAIN_LIST,
    read_class_index,
    require_class,
    write_class_index,
)

if TYPE_CHECKING:
    import pandas as pd


def prepare_class_index(
    out: Path, class_names: Sequence[str], splits: Path | None, *, anew: bool = False
) -> dict[str, int]:
    """Put the split files into `out/splits` and return the label of each class.

    Without a classInd.txt the classes are numbered in sorted order, with a warning. With `anew` they are whenever
    `splits` gives none, whatever an earlier call numbered.

    Raises:
        DataError: `splits` holds none of the files, or classInd.txt lacks one of `class_names`.
    """
    if splits is not None:
        _copy_lists(splits, out / "splits")
    path = out / "splits" / CLASS_INDEX
    names = sorted(set(class_names))
    if anew and not _given(splits, CLASS_INDEX):
        write_class_index(path, names)
    elif not path.is_file():
        print(f"warning: no {CLASS_INDEX}: labels are the {len(names)} class folders in sorted order", file=sys.stderr)
        write_class_index(path, names)
    class_index = read_class_index(path)
    for name in names:
        require_class(name, class_index, str(out / "frames" / name), path)
    return class_index


def write_missing_lists(out: Path, table: pd.DataFrame, splits: Path | None) -> None:
    """Where `splits` gives no list, write both: every video is for training and for test.

    A video whose name states no group has status `bad` and could not be read back from a list: it is left out.
    """
    if _given(splits, TRAIN_LIST, TEST_LIST):
        return
    named = table[table["group"] >= 0]
    names = zip(named["class"], named["video_id"], strict=True)
    lines = "".join(f"{class_name}/{video_id}.avi\n" for class_name, video_id in names)
    for name in (TRAIN_LIST, TEST_LIST):
        write_text(out / "splits" / name, lines)


def _given(splits: Path | None, *names: str) -> bool:
    """Whether the user gave one of the files."""
    return splits is not None and any((splits / name).is_file() for name in names)


def _copy_lists(source: Path, target: Path) -> None:
    found = [source / name for name in LIST_NAMES if (source / name).is_file()]
    if not found:
        raise DataError(f"--splits {source}: holds none of {', '.join(LIST_NAMES)} (resolved: {source.resolve()})")
    for path in found:
        content = path.read_bytes()
        copy = target / path.name
        if not copy.is_file() or copy.read_bytes() != content:
            write_bytes(copy, content)
