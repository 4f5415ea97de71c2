"""Writes are whole or not at all."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import (
    atomic_directory,
    atomic_path,
    exclusive,
    join_parquet,
    read_json,
    read_npy,
    read_parquet,
    write_json,
    write_npy,
    write_parquet,
    write_text,
)
from pipeline.errors import DataError


def write_half_and_fail(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt


def write_folder(target: Path, name: str, *, fail: bool) -> None:
    with atomic_directory(target) as temporary:
        (temporary / name).write_text(name)
        if fail:
            raise KeyboardInterrupt


def test_interrupted_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt):
        write_half_and_fail(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_is_a_clear_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(DataError, match=r"a\.txt.*No space left"), atomic_path(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_directory_replaces_an_old_one_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "d"
    write_folder(target, "one", fail=False)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target, "two", fail=True)
    assert [path.name for path in target.iterdir()] == ["one"]
    write_folder(target, "three", fail=False)
    assert [path.name for path in target.iterdir()] == ["three"]
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_round_trips(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_npy(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", memory_map=True), array)
    write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}
    table = pd.DataFrame({"a": [1, 2]})
    write_parquet(tmp_path / "a.parquet", table)
    join_parquet(tmp_path / "b.parquet", [tmp_path / "a.parquet"] * 2)
    assert read_parquet(tmp_path / "b.parquet", ("a",))["a"].tolist() == [1, 2, 1, 2]


def test_damaged_or_missing_files_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"not what it says")
    for read in (read_npy, read_parquet, read_json):
        with pytest.raises(DataError, match="bad"):
            read(bad)
        with pytest.raises(DataError, match="absent"):
            read(tmp_path / "absent")
    write_parquet(tmp_path / "a.parquet", pd.DataFrame({"a": [1]}))
    with pytest.raises(DataError, match=r"lacks the column\(s\) b.*it has a"):
        read_parquet(tmp_path / "a.parquet", ("a", "b"))


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"evil\.npy"):
        read_npy(tmp_path / "evil.npy")


def test_exclusive_waits_for_the_other_process(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with exclusive(tmp_path / "lock"):
            inside.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with exclusive(tmp_path / "lock"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
