"""Reading lists, refusing contradictions, carving validation by group, cutting in time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.splits import (
    ListedVideo,
    carve_validation,
    group_of,
    read_class_index,
    read_list,
    read_splits,
    time_range,
    write_class_index,
)
from pipeline.errors import DataError

CLASSES = ["Jump", "Wave"]
TRAIN = ["Jump/v_Jump_g02_c01", "Jump/v_Jump_g03_c01", "Wave/v_Wave_g02_c01"]
TEST = ["Jump/v_Jump_g01_c01", "Wave/v_Wave_g01_c01"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_either_line_end(tmp_path, split_lists, end):
    lists = read_splits(split_lists(tmp_path, CLASSES, TRAIN, TEST, end))
    assert lists.class_index == {"Jump": 0, "Wave": 1}
    assert lists.train[0] == ListedVideo("v_Jump_g02_c01", "Jump", 2)
    assert [video.video_id for video in lists.test] == ["v_Jump_g01_c01", "v_Wave_g01_c01"]


def test_byte_order_mark_and_blank_lines(tmp_path, split_lists):
    folder = split_lists(tmp_path, CLASSES, TRAIN, TEST)
    path = folder / "classInd.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\n")
    assert read_splits(folder).class_index == {"Jump": 0, "Wave": 1}


def test_class_is_the_folder_not_the_file_name(tmp_path, split_lists):
    folder = split_lists(tmp_path, ["HandstandPushups"], ["HandstandPushups/v_HandStandPushups_g08_c01"], [])
    assert read_splits(folder).train == [ListedVideo("v_HandStandPushups_g08_c01", "HandstandPushups", 8)]


@given(
    st.text("abcXYZ019 .-_é", min_size=1, max_size=12).map(str.strip).filter(bool),
    st.text("abcXYZ019 .-_é", min_size=1, max_size=12),
    st.sampled_from(["avi", "AVI"]),
    st.booleans(),
)
def test_names_may_hold_blanks(class_name, name, suffix, labelled):
    video_id = f"v_{name}_g07_c01"
    with tempfile.TemporaryDirectory() as folder:
        index, path = Path(folder, "classInd.txt"), Path(folder, "trainlist01.txt")
        write_class_index(index, ["first one", class_name])
        classes = read_class_index(index)
        assert classes == {"first one": 0, class_name: 1}
        path.write_text(f"{class_name}/{video_id}.{suffix}{' 2' if labelled else ''}\n")
        assert read_list(path, classes) == [ListedVideo(video_id, class_name, 7)]
        path.write_text(f"{class_name}/{video_id}.{suffix} 1\n")
        with pytest.raises(DataError, match="has label 1"):
            read_list(path, classes)


def mended(tmp_path, split_lists, name: str, old: str, new: str):
    folder = split_lists(tmp_path, CLASSES, TRAIN, TEST)
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return folder


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("trainlist01.txt", "g03_c01.avi 1", "g03_c01.avi 2", r"trainlist01.txt:2: .* label 2, .* gives Jump 1"),
        ("trainlist01.txt", "Wave/v", "Wawe/v", r"trainlist01.txt:3: the class Wawe .*did you mean 'Wave'"),
        ("testlist01.txt", "Wave/v", "Wawe/v", r"testlist01.txt:2: the class Wawe .*did you mean 'Wave'"),
        ("testlist01.txt", "v_Wave_g01", "v_Jump_g01", r"testlist01.txt:2: v_Jump_g01_c01 is listed twice"),
        ("testlist01.txt", "Jump/v_Jump_g01_c01.avi", "v_Jump_g01_c01.avi", r"testlist01.txt:1: .* is not Class/"),
        ("testlist01.txt", "_g01_c01.avi", "_g01_c01 1", r"testlist01.txt:1: .* is not Class/"),
        ("trainlist01.txt", "g03_c01.avi 1", "g03_c01.avi 1 1", r"trainlist01.txt:2: .* is not Class/"),
        ("testlist01.txt", "_g01_c01", "", r"testlist01.txt:1: .* is not Class/"),
        ("testlist01.txt", "v_Jump_g01", "v_Jump_g03", r"group g03 of class Jump is in both"),
        ("classInd.txt", "2 Wave", "3 Wave", r"classInd.txt:2: '3 Wave' should read '2 ClassName'"),
        ("classInd.txt", "2 Wave", "2 Jump", r"classInd.txt:2"),
    ],
)
def test_contradictions_name_file_and_line(tmp_path, split_lists, name, old, new, message):
    with pytest.raises(DataError, match=message):
        read_splits(mended(tmp_path, split_lists, name, old, new))


def test_missing_list_prints_the_resolved_path(tmp_path, split_lists):
    folder = split_lists(tmp_path, CLASSES, TRAIN, TEST)
    (folder / "testlist01.txt").unlink()
    with pytest.raises(DataError, match=str(tmp_path.resolve())):
        read_splits(folder)


def test_same_group_number_of_two_classes_is_no_leak(tmp_path, split_lists):
    lists = read_splits(split_lists(tmp_path, CLASSES, ["Jump/v_Jump_g01_c01"], ["Wave/v_Wave_g01_c01"]))
    assert len(lists.train) == len(lists.test) == 1


videos = st.lists(
    st.builds(
        lambda name, group, clip: ListedVideo(f"v_{name}_g{group:02d}_c{clip:02d}", name, group),
        st.sampled_from(["A", "B", "C"]),
        st.integers(1, 12),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=60,
    unique=True,
)


@given(videos, st.integers(0, 3))
def test_validation_takes_the_highest_groups_whole(train, val_groups):
    groups = {name: sorted({v.group for v in train if v.class_name == name}) for name in "ABC"}
    if any(0 < len(numbers) <= val_groups for numbers in groups.values()):
        with pytest.raises(DataError, match="val_groups"):
            carve_validation(train, val_groups)
        return
    kept, carved = carve_validation(train, val_groups)
    assert sorted(v.video_id for v in [*kept, *carved]) == sorted(v.video_id for v in train)
    for name, numbers in groups.items():
        expected = set(numbers[-val_groups:]) if val_groups else set()
        assert {v.group for v in carved if v.class_name == name} == expected
        assert not {v.group for v in kept if v.class_name == name} & expected


@given(st.integers(0, 5000))
def test_time_ranges_partition_the_video(n_frames):
    ranges = [time_range(n_frames, split) for split in ("train", "val", "test")]
    assert [ranges[0][0], ranges[1][0], ranges[2][0]] == [0, ranges[0][1], ranges[1][1]]
    assert ranges[2][1] == n_frames
    assert ranges[0][1] == 6 * n_frames // 10
    assert ranges[1][1] == 8 * n_frames // 10


def test_group_of():
    assert group_of("v_HandStandPushups_g08_c01") == 8
    assert group_of("v_A_g100_c1") == 100
    for other in ("v_A_c01", "A_g01_c01", "v_A_g01_c01_small", "v__g_c"):
        assert group_of(other) is None


@pytest.mark.reference_data
def test_official_lists(reference):
    lists = read_splits(reference / "splits")
    assert (len(lists.class_index), len(lists.train), len(lists.test)) == (101, 9537, 3783)
    assert lists.class_index["YoYo"] == 100
    train, val = carve_validation(lists.train, 3)
    assert len(train) + len(val) == 9537
    assert {video.group for video in val} == {23, 24, 25}


def test_class_index_of_an_empty_file(tmp_path):
    (tmp_path / "classInd.txt").write_text("")
    with pytest.raises(DataError, match="lists no class"):
        read_class_index(tmp_path / "classInd.txt")
