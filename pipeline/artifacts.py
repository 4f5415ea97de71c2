"""Atomic writes and typed reads of the files that stages hand to each other.

A file is written to a temporary one beside the target, synced to disk and then renamed, so a kill or a full
disk leaves either the old file or the new one, never half of one. A folder is renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@contextlib.contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; rename it to `target` if the block succeeds.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}); free or mount the disk") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"{target}: writing failed ({error.strerror or error}); check disk space") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(target: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; it replaces `target` if the block succeeds."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"{target}: writing failed ({error.strerror or error}); check disk space") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def exclusive(lock: Path | str) -> Iterator[None]:
    """Hold the lock file for the block, waiting for another process that holds it.

    A job whose workflow was killed may still be writing; its successor must not write beside it. The system
    releases the lock of a process however it ends.
    """
    lock = Path(lock)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{lock}: another process is at work here; waiting for it to end", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_bytes(target: Path | str, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(target, text.encode())


def write_json(target: Path | str, value: Any) -> None:
    """Write JSON atomically; NaN is refused because JSON has none."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(source: Path | str) -> Any:
    """Read JSON.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(source).read_text())
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{source}: not JSON ({error})") from error


def write_yaml(target: Path | str, value: Any) -> None:
    """Write YAML atomically, keys in their given order."""
    write_text(target, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def write_parquet(target: Path | str, table: pd.DataFrame) -> None:
    """Write a table atomically."""
    with atomic_path(target) as temporary:
        table.to_parquet(temporary, index=False)


def read_parquet(source: Path | str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a table and check that it has `columns` (extra ones are kept).

    Raises:
        DataError: the file is missing, unreadable, or lacks a column.
    """
    import pandas as pd

    path = Path(source)
    if not path.is_file():
        raise DataError(f"{path}: no such file (resolved: {path.resolve()})")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({error})") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    return table


def join_parquet(target: Path | str, sources: Sequence[Path | str]) -> None:
    """Write the rows of several tables as one, in the given order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_path(target) as temporary:
        # `pq.read_table` would load pandas, which costs more than all the rest of a join.
        pq.write_table(pa.concat_tables([pq.ParquetFile(source).read() for source in sources]), temporary)


def write_npy(target: Path | str, array: np.ndarray) -> None:
    """Write one array atomically."""
    import numpy as np

    with atomic_path(target) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_npy(source: Path | str, *, memory_map: bool = False) -> np.ndarray:
    """Read one array, memory-mapped on request.

    Raises:
        DataError: the file is missing, damaged, or holds pickled objects.
    """
    import numpy as np

    try:
        return np.load(source, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file (resolved: {Path(source).resolve()})") from error
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{source}: not a readable NPY array ({error}); delete it and build it again") from error


def sha256_of_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any, length: int = 8) -> str:
    """A short, stable hash of JSON-able settings."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
