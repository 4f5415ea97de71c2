"""Splits of recordings: in time, whole, each with a seizure."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.cascade import SPLITS
from pipeline.data.ieeg_recording import Recording
from pipeline.data.ieeg_splits import split_by_group, split_in_time
from pipeline.errors import DataError

SHARES = {"train": 0.4, "val": 0.15, "calibration": 0.2, "test": 0.25}


def recording(number: int, continues: bool = False, group: str | None = None) -> Recording:
    return Recording("ID1", f"r{number}", Path("x.mat"), 2, 100, 10.0, nullcontext, [], None, group, continues)


@given(st.lists(st.booleans(), min_size=4, max_size=60).filter(lambda marks: sum(marks) >= 4))
def test_splits_follow_each_other_in_time_and_each_has_a_seizure(has_seizure):
    splits = split_in_time([recording(index) for index in range(len(has_seizure))], has_seizure, SHARES)
    order = [SPLITS.index(split) for split in splits]
    assert order == sorted(order)
    assert {split for split, seizure in zip(splits, has_seizure, strict=True) if seizure} == set(SPLITS)


def test_seizures_are_divided_by_the_shares():
    splits = split_in_time([recording(index) for index in range(40)], [True] * 40, SHARES)
    assert [splits.count(split) for split in SPLITS] == [16, 6, 8, 10]


def test_a_seizure_across_two_files_keeps_them_in_one_split():
    recordings = [recording(index, continues=index % 2 == 0) for index in range(12)]
    splits = split_in_time(recordings, [True] * 12, SHARES)
    assert all(splits[index] == splits[index + 1] for index in range(0, 12, 2))


def test_too_few_seizures_are_an_error_that_names_the_patient_and_the_mend():
    with pytest.raises(DataError, match=r"ID1.*3 separate recordings.*data\.leave_out"):
        split_in_time([recording(index) for index in range(9)], [True] * 3 + [False] * 6, SHARES)


def test_every_group_of_independent_records_is_in_every_split():
    recordings = [recording(index, group="ZS"[index >= 20]) for index in range(40)]
    splits = split_by_group(recordings, SHARES)
    for group in "ZS":
        own = [split for split, item in zip(splits, recordings, strict=True) if item.group == group]
        assert set(own) == set(SPLITS)
    with pytest.raises(DataError, match="set S has 2 records"):
        split_by_group(recordings[:22], SHARES)
