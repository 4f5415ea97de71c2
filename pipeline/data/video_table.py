"""Which videos a split consists of: the manifest joined with the lists, checked; nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts import read_parquet
from ..config.loading import load_preset
from ..config.sections import RunConfig
from ..errors import DataError
from .packed import packed_path, rebuild_command
from .shards import name_some
from .splits import (
    CLASS_INDEX,
    ListedVideo,
    Split,
    SplitLists,
    carve_validation,
    read_class_index,
    read_splits,
    require_class,
    time_range,
)

MANIFEST_COLUMNS = (
    "video_id",
    "class",
    "label",
    "group",
    "n_frames",
    "width",
    "height",
    "has_audio",
    "status",
)


def select_videos(cfg: RunConfig, split: Split) -> tuple[pd.DataFrame, list[str]]:
    """The usable videos of a split, and the names of all classes in label order.

    Args:
        cfg: `data.root`, `data.splits_root`, `data.splits`, `data.val_groups`, `data.max_missing_share`.
        split: which one.

    Returns:
        A table with the manifest's columns plus `first_frame` and `stop_frame`, the range this split may see;
        and the class names.

    Raises:
        DataError: no data folder, lists that contradict the manifest or themselves, too many listed videos
            absent, no packed cache, or an empty training or test split.
    """
    manifest = _read_manifest(cfg)
    root = Path(cfg.data.splits_root or Path(cfg.data.root) / "splits")
    if cfg.data.splits == "by_time":
        class_index = read_class_index(root / CLASS_INDEX)
        videos = manifest.assign(label=_labels(manifest, class_index, root, cfg))
    else:
        lists = read_splits(root)
        class_index = lists.class_index
        _check_missing(manifest, lists, cfg, root)
        videos = _join(manifest, _listed(lists, cfg, split), split)
        videos = videos.assign(label=_labels(videos, class_index, root, cfg))
    videos = _in_range(_without_bad(videos, split), cfg, split)
    if not len(videos) and split != "val":
        raise DataError(f"{root}: the {split} split has no usable video; see the manifest's statuses and the lists")
    _check_packed(videos, cfg)
    return videos.reset_index(drop=True), list(class_index)


def _read_manifest(cfg: RunConfig) -> pd.DataFrame:
    path = Path(cfg.data.root) / "manifest.parquet"
    if not path.is_file():
        raise DataError(f"{path}: no such file (resolved: {path.resolve()}); make it with {_making_command(cfg)}")
    return read_parquet(path, MANIFEST_COLUMNS)


def _making_command(cfg: RunConfig) -> str:
    if load_preset(cfg.preset).data_source == "demo":
        preset = "" if cfg.preset == "demo" else f" --config preset={cfg.preset}"
        return f"snakemake --cores all demo_data{preset}"
    return f"python -m scripts.extract_frames --raw DIR --out {cfg.data.root} --splits DIR"


def _listed(lists: SplitLists, cfg: RunConfig, split: Split) -> list[ListedVideo]:
    if split == "test":
        return lists.test
    train, val = carve_validation(lists.train, cfg.data.val_groups)
    return train if split == "train" else val


def _check_missing(manifest: pd.DataFrame, lists: SplitLists, cfg: RunConfig, root: Path) -> None:
    known = set(manifest["video_id"])
    listed = [video.video_id for video in (*lists.train, *lists.test)]
    missing = [video_id for video_id in listed if video_id not in known]
    share = len(missing) / max(1, len(listed))
    if share > cfg.data.max_missing_share:
        raise DataError(
            f"{root}: {len(missing)} of {len(listed)} listed videos are not in {cfg.data.root}/manifest.parquet "
            f"({name_some(missing, 5)}); extract them, or raise data.max_missing_share={cfg.data.max_missing_share:g} "
            f"to {share:.3g}"
        )


def _join(manifest: pd.DataFrame, listed: list[ListedVideo], split: Split) -> pd.DataFrame:
    """The manifest's rows of the listed videos, in the list's order; absent ones are named."""
    rows = manifest.set_index("video_id", drop=False)
    present = [video for video in listed if video.video_id in rows.index]
    absent = [video.video_id for video in listed if video.video_id not in rows.index]
    if absent:
        print(f"split {split}: {len(absent)} listed videos are absent: {name_some(absent)}", flush=True)
    table = rows.loc[[video.video_id for video in present]]
    for video, class_name in zip(present, table["class"], strict=True):
        if class_name != video.class_name:
            raise DataError(
                f"{video.video_id}: listed under {video.class_name}, but its folder is {class_name}; mend the list"
            )
    return table


def _labels(videos: pd.DataFrame, class_index: dict[str, int], root: Path, cfg: RunConfig) -> np.ndarray:
    where = f"{cfg.data.root}/manifest.parquet"
    labels = np.array(
        [require_class(name, class_index, where, root / CLASS_INDEX) for name in videos["class"]], dtype=np.int64
    )
    wrong = (videos["label"].to_numpy() != labels) & (videos["label"].to_numpy() != -1)
    if wrong.any():
        row = videos.iloc[int(wrong.argmax())]
        raise DataError(
            f"{where}: gives {row['class']} the label {row['label']}, {root / CLASS_INDEX} gives "
            f"{class_index[row['class']]}; extract again with --splits {root}"
        )
    return labels


def _without_bad(videos: pd.DataFrame, split: Split) -> pd.DataFrame:
    bad = list(videos.loc[videos["status"] == "bad", "video_id"])
    if bad:
        print(f"split {split}: {len(bad)} videos with status bad are left out: {name_some(bad)}", flush=True)
    return videos[videos["status"] != "bad"]


def _in_range(videos: pd.DataFrame, cfg: RunConfig, split: Split) -> pd.DataFrame:
    """Add the range of frames the split may see; a video too short to be cut in time is left out and named."""
    if cfg.data.splits == "lists":
        return videos.assign(first_frame=np.int64(0), stop_frame=videos["n_frames"])
    ranges = np.array([time_range(n, split) for n in videos["n_frames"]], dtype=np.int64).reshape(-1, 2)
    videos = videos.assign(first_frame=ranges[:, 0], stop_frame=ranges[:, 1])
    empty = list(videos.loc[videos["stop_frame"] == videos["first_frame"], "video_id"])
    if empty:
        print(f"split {split}: {len(empty)} videos are too short to be cut in time: {name_some(empty)}", flush=True)
    return videos[videos["stop_frame"] > videos["first_frame"]]


def _check_packed(videos: pd.DataFrame, cfg: RunConfig) -> None:
    root = Path(cfg.data.root)
    folder = root / "packed"
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    missing = [v for v in videos["video_id"] if packed_path(root, v).name not in found]
    if missing:
        raise DataError(
            f"{packed_path(root, missing[0])}: no such file ({len(missing)} of {len(videos)} packed videos are "
            f"missing); make them with {rebuild_command(root, cfg.data.short_side)}"
        )
