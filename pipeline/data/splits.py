"""The official split lists: reading them, checking them, carving validation groups, cutting videos in time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..artifacts import write_text
from ..errors import DataError, suggestion

Split = Literal["train", "val", "test"]

CLASS_INDEX = "classInd.txt"
TRAIN_LIST = "trainlist01.txt"
TEST_LIST = "testlist01.txt"
LIST_NAMES = (CLASS_INDEX, TRAIN_LIST, TEST_LIST)

# Folder and file names may hold blanks, so a line of a list ends its path at the suffix.
LIST_LINE = re.compile(r"(?P<folder>.+)/(?P<video_id>[^/]+)\.avi(?:\s+(?P<label>\S+))?", re.IGNORECASE)
VIDEO_NAME = re.compile(r"v_.+_g(?P<group>\d+)_c\d+")

# Fifths of a video's frames after which train and validation end, cut `by_time`.
TRAIN_FIFTHS = 3
VAL_FIFTHS = 4
BY_TIME_NOTICE = (
    f"by time: every video gives its first {20 * TRAIN_FIFTHS} % to training, the next "
    f"{20 * (VAL_FIFTHS - TRAIN_FIFTHS)} % to validation, the last {20 * (5 - VAL_FIFTHS)} % to test; "
    "no video is unseen"
)


@dataclass(frozen=True)
class ListedVideo:
    """One line of a list; the class is the folder's name, which may differ from the one in the file's name
    (`HandstandPushups/v_HandStandPushups_g01_c01.avi`)."""

    video_id: str
    class_name: str
    group: int


@dataclass(frozen=True)
class SplitLists:
    """The three files of a splits folder, read and checked; labels count from 0."""

    class_index: dict[str, int]
    train: list[ListedVideo]
    test: list[ListedVideo]


def group_of(video_id: str) -> int | None:
    """The group XX of `v_<Name>_gXX_cYY`, or None if the name has another form."""
    match = VIDEO_NAME.fullmatch(video_id)
    return int(match["group"]) if match else None


def read_class_index(path: Path) -> dict[str, int]:
    """Class name to label, counted from 0, of a file with lines `1 ApplyEyeMakeup`.

    Raises:
        DataError: the file is missing, or a line is not a number and a name, or the numbers are not 1, 2, 3, ...
    """
    index: dict[str, int] = {}
    for number, line in _lines(path):
        parts = line.split(maxsplit=1)
        if len(parts) != 2 or parts[0] != str(len(index) + 1) or parts[1] in index:
            raise DataError(f"{path}:{number}: '{line}' should read '{len(index) + 1} ClassName' with a new name")
        index[parts[1]] = len(index)
    if not index:
        raise DataError(f"{path}: lists no class")
    return index


def write_class_index(path: Path, class_names: Sequence[str]) -> None:
    """Write class names, numbered from 1, in the official form."""
    write_text(path, "".join(f"{number} {name}\n" for number, name in enumerate(class_names, start=1)))


def require_class(name: str, class_index: Mapping[str, int], where: str, index_path: Path) -> int:
    """The label of a class.

    Raises:
        DataError: the class is not in `class_index`; the message starts with `where`.
    """
    if name not in class_index:
        raise DataError(f"{where}: the class {name} is not in {index_path}{suggestion(name, class_index)}")
    return class_index[name]


def read_list(path: Path, class_index: Mapping[str, int]) -> list[ListedVideo]:
    """The videos of a list with lines `Class/v_Class_g01_c01.avi` and an optional label counted from 1.

    Raises:
        DataError: the file is missing; a line has another form, a class not in `class_index`, a label that
            contradicts it, or a video listed before. The message names file and line.
    """
    index_path = path.parent / CLASS_INDEX
    videos: dict[str, ListedVideo] = {}
    for number, line in _lines(path):
        match = LIST_LINE.fullmatch(line)
        group = group_of(match["video_id"]) if match else None
        if match is None or group is None:
            raise DataError(f"{path}:{number}: '{line}' is not Class/v_<Name>_gXX_cYY.avi")
        video_id, label = match["video_id"], match["label"]
        class_name = match["folder"].rpartition("/")[2]
        expected = require_class(class_name, class_index, f"{path}:{number}", index_path) + 1
        if label and label != str(expected):
            raise DataError(
                f"{path}:{number}: '{line}' has label {label}, but {index_path} gives {class_name} {expected}"
            )
        if video_id in videos:
            raise DataError(f"{path}:{number}: {video_id} is listed twice; remove one line")
        videos[video_id] = ListedVideo(video_id, class_name, group)
    return list(videos.values())


def read_splits(folder: Path) -> SplitLists:
    """Read and check the three files of a splits folder.

    Raises:
        DataError: a file is missing or wrong, or a group of a class is in both lists: clips of a group share
            background and actor, so a model could recognise them instead of the action.
    """
    class_index = read_class_index(folder / CLASS_INDEX)
    train, test = (read_list(folder / name, class_index) for name in (TRAIN_LIST, TEST_LIST))
    leaked = sorted({(v.class_name, v.group) for v in train} & {(v.class_name, v.group) for v in test})
    if leaked:
        class_name, group = leaked[0]
        raise DataError(
            f"{folder}: group g{group:02d} of class {class_name} is in both {TRAIN_LIST} and {TEST_LIST} "
            f"({len(leaked)} such groups); keep each group of a class in one list"
        )
    return SplitLists(class_index, train, test)


def carve_validation(train: Sequence[ListedVideo], val_groups: int) -> tuple[list[ListedVideo], list[ListedVideo]]:
    """Divide the training list into training and validation videos by whole groups.

    Validation takes the `val_groups` highest group numbers of each class; model selection never sees test.

    Raises:
        DataError: a class would be left without a training group.
    """
    groups: dict[str, set[int]] = {}
    for video in train:
        groups.setdefault(video.class_name, set()).add(video.group)
    for class_name, numbers in groups.items():
        if len(numbers) <= val_groups:
            raise DataError(
                f"data.val_groups={val_groups} takes all {len(numbers)} training groups of class {class_name}; lower it"
            )
    chosen = {name: set(sorted(numbers)[len(numbers) - val_groups :]) for name, numbers in groups.items()}
    parts: tuple[list[ListedVideo], list[ListedVideo]] = ([], [])
    for video in train:
        parts[video.group in chosen[video.class_name]].append(video)
    return parts


def time_range(n_frames: int, split: Split) -> tuple[int, int]:
    """First and one past the last frame that a split sees of a video cut in time; may be empty below 5 frames."""
    cuts = [0, TRAIN_FIFTHS * n_frames // 5, VAL_FIFTHS * n_frames // 5, n_frames]
    position = ("train", "val", "test").index(split)
    return cuts[position], cuts[position + 1]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and content of the lines that are not blank; line ends of any system, with or without a BOM."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file (resolved: {path.resolve()}); give the folder of the lists") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()
