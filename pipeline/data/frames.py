"""Frame extraction: raw video -> JPEG tree -> packed cache -> manifest.

The packed cache is made from the decoded content of the JPEG files, so it is a function of the tree alone:
starting from a tree that somebody else extracted gives the same arrays. Each video ends with a receipt
`rows/<video_id>.json`; a run killed anywhere resumes at the first video without one.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts import atomic_directory, read_npy, write_npy, write_parquet
from ..errors import DataError
from .jpeg_tree import JPEG_QUALITY, PackedVideo, encode_jpeg, frame_files, frame_path, tree_sha256
from .packed import packed_path, packed_size
from .receipts import is_same_file, read_receipt, remove_leftovers, source_of, write_receipt
from .recipe import code_and_libraries, recipe_of
from .shards import Shard, each_of_shard, join_parts, name_some, summary_line, write_part
from .split_files import prepare_class_index, write_missing_lists
from .splits import BY_TIME_NOTICE, group_of
from .video_file import VideoFacts, decode_video, other_files, raw_videos, unreadable

STATUSES = ("ok", "truncated", "bad")
MANIFEST_TYPES = {
    "video_id": "str",
    "class": "str",
    "label": "int64",
    "group": "int64",
    "n_frames": "int64",
    "fps": "float64",
    "width": "int64",
    "height": "int64",
    "has_audio": "bool",
    "status": "str",
    "message": "str",
    "sha256": "str",
    "recipe": "str",
}


@dataclass(frozen=True)
class Place:
    """Where the files of one video lie."""

    root: Path
    class_name: str
    video_id: str

    @property
    def frames(self) -> Path:
        """Folder of its JPEG files."""
        return self.root / "frames" / self.class_name / self.video_id

    @property
    def packed(self) -> Path:
        """Its packed array."""
        return packed_path(self.root, self.video_id)

    @property
    def receipt(self) -> Path:
        """Its receipt, written last."""
        return self.root / "rows" / f"{self.video_id}.json"

    def remove_leftovers(self) -> None:
        """Delete what a killed process left half-written."""
        for target in (self.frames, self.packed, self.receipt):
            remove_leftovers(target)

    def remove_frames(self) -> None:
        """Delete its JPEG files and its packed array, if there are any."""
        if self.frames.is_dir():
            shutil.rmtree(self.frames)
        self.packed.unlink(missing_ok=True)


def extract_shard(
    raw: Path, out: Path, short_side: int, shard: Shard, *, splits: Path | None = None, by_time: bool = False
) -> None:
    """Extract the videos of one shard of `raw` (`Class/v_<Name>_gXX_cYY.avi`) and write its part table.

    Args:
        raw: folder of class folders; only `.avi` files are videos.
        out: data folder R: gets frames, packed, rows, splits and shards.
        short_side: short side of the packed frames, pixels.
        shard: (i, n): the sorted videos whose position modulo n is i.
        splits: folder of classInd.txt, trainlist01.txt, testlist01.txt; what is there is copied to `out/splits`.
        by_time: without `splits`, number the classes anew from the folders that are there now.

    Raises:
        DataError: no videos, a video id twice, a class that classInd.txt lacks, or a full disk.
    """
    videos = raw_videos(raw)
    prepare_class_index(out, [video.parent.name for video in videos], splits, anew=by_time)
    others = other_files(raw)
    if others and shard[0] == 0:
        print(f"warning: {len(others)} files are not .avi and not read: {name_some(others)}", file=sys.stderr)
    settings, rows = _settings(short_side), []
    for video in each_of_shard(videos, shard, out, "frames"):
        rows.append(_extract_row(video, Place(out, video.parent.name, video.stem), settings))
    write_part(out, "frames", shard, _manifest(rows, settings), STATUSES)


def pack_tree(out: Path, short_side: int, shard: Shard, *, splits: Path | None = None, by_time: bool = False) -> None:
    """Make packed arrays and the part table of one shard from the JPEG tree `out/frames` alone.

    What only the raw file knows (rate, sound, SHA-256) is kept from an earlier extraction of the same frames,
    else unknown: NaN, False and empty. `splits` and `by_time` are as in `extract_shard`.

    Raises:
        DataError: no tree, a video id twice, a class that classInd.txt lacks, or a full disk.
    """
    folders = _tree_videos(out / "frames")
    prepare_class_index(out, [folder.parent.name for folder in folders], splits, anew=by_time)
    settings, rows = _settings(short_side), []
    for folder in each_of_shard(folders, shard, out, "frames"):
        rows.append(_pack_row(Place(out, folder.parent.name, folder.name), settings))
    write_part(out, "frames", shard, _manifest(rows, settings), STATUSES)


def merge_manifest(out: Path, shards: int, *, splits: Path | None = None, by_time: bool = False) -> None:
    """Join the part tables of all shards to `out/manifest.parquet`, label them and print a summary.

    Args:
        out: data folder R.
        shards: n of the shards.
        splits: as in `extract_shard`.
        by_time: every video is cut in time. Where no lists are given, number the classes anew and write lists that
            name every video for training and for test.

    Raises:
        DataError: a part is missing, or a class that classInd.txt lacks.
    """
    table = join_parts(out, "frames", shards, list(MANIFEST_TYPES))
    table = table.sort_values(["class", "video_id"], ignore_index=True)
    class_index = prepare_class_index(out, list(table["class"]), splits, anew=by_time)
    table["label"] = table["class"].map(class_index).astype("int64")
    if by_time:
        write_missing_lists(out, table, splits)
    write_parquet(out / "manifest.parquet", table)
    print(summary_line(table, STATUSES), flush=True)
    if by_time:
        print(BY_TIME_NOTICE, flush=True)


def _settings(short_side: int) -> dict[str, Any]:
    made_with = code_and_libraries("pipeline.data.frames", "av", "numpy", "pillow")
    return {"short_side": short_side, "quality": JPEG_QUALITY, **made_with}


def _extract_row(video: Path, place: Place, settings: dict[str, Any]) -> dict[str, Any]:
    receipt = read_receipt(place.receipt)
    if receipt is not None and receipt["settings"] == settings and is_same_file(receipt["source"], video):
        row = {**receipt["row"], "class": place.class_name}
        if _is_whole(place, row, settings["short_side"]):
            return row
    place.remove_leftovers()
    try:
        source = source_of(video)
    except OSError as error:
        place.receipt.unlink(missing_ok=True)
        place.remove_frames()
        return _row(place, VideoFacts(message=unreadable(error)), "")
    if group_of(place.video_id) is None:
        facts = VideoFacts(message=f"the file name {video.name} is not v_<Name>_gXX_cYY.avi")
    else:
        facts, source["tree"] = _extract(video, place, settings["short_side"])
    row = _row(place, facts, source["sha256"])
    # One that vanished meanwhile is looked at again when it is back.
    if video.is_file():
        write_receipt(place.receipt, source, settings, row)
    return row


def _extract(video: Path, place: Place, short_side: int) -> tuple[VideoFacts, str]:
    """Decode one raw file into its JPEG folder and packed array; a file without frames leaves neither.

    Returns:
        The facts, and the hash of the JPEG files.
    """
    packed = PackedVideo(short_side)
    with atomic_directory(place.frames) as folder:

        def take_frame(frame: np.ndarray) -> None:
            jpeg = encode_jpeg(frame)
            frame_path(folder, len(packed)).write_bytes(jpeg)
            packed.add(jpeg)

        facts = decode_video(video, take_frame)
    if facts.status == "bad":
        place.remove_frames()
    else:
        write_npy(place.packed, packed.array())
    return facts, packed.tree_sha256()


def _tree_videos(tree: Path) -> list[Path]:
    folders = sorted(path for path in tree.glob("[!.]*/[!.]*") if path.is_dir())
    if not folders:
        raise DataError(f"{tree}: holds no Class/<video>/00001.jpg (resolved: {tree.resolve()})")
    first: dict[str, Path] = {}
    for folder in folders:
        if folder.name in first:
            raise DataError(f"{folder}: the video id is also {first[folder.name]}; rename or delete one of them")
        first[folder.name] = folder
    return folders


def _pack_row(place: Place, settings: dict[str, Any]) -> dict[str, Any]:
    short_side = settings["short_side"]
    place.remove_leftovers()
    try:
        tree = tree_sha256(place.frames)
    except DataError as error:
        return _row(place, VideoFacts(message=str(error)), "")
    receipt = read_receipt(place.receipt)
    known = receipt if receipt is not None and receipt["source"].get("tree") == tree else None
    if known is not None and known["settings"] == settings and _is_whole(place, known["row"], short_side):
        return {**known["row"], "class": place.class_name}
    facts = _pack(place, short_side)
    source: dict[str, Any] = {"tree": tree}
    row = _row(place, facts, "")
    if known is not None and "bad" not in (facts.status, known["row"]["status"]):
        row = {**known["row"], "class": place.class_name}
        # Frames that older code decoded must not pass for this code's: the raw file is then read again.
        if {**known["settings"], "short_side": short_side} == settings:
            source = known["source"]
    write_receipt(place.receipt, source, settings, row)
    return row


def _pack(place: Place, short_side: int) -> VideoFacts:
    """Make the packed array of one video from its JPEG folder."""
    packed = PackedVideo(short_side)
    named = group_of(place.video_id) is not None
    problem = "" if named else f"the folder name {place.video_id} is not v_<Name>_gXX_cYY"
    try:
        for path in frame_files(place.frames) if named else []:
            packed.add(path.read_bytes())
    except (OSError, SyntaxError, DataError) as error:
        problem = f"{frame_path(place.frames, len(packed)).name} cannot be used: {error}"
    if problem or not len(packed):
        place.packed.unlink(missing_ok=True)
        return VideoFacts(message=problem or "the folder holds no frames")
    write_npy(place.packed, packed.array())
    height, width = packed.native_size
    return VideoFacts(len(packed), width=width, height=height, status="ok")


def _is_whole(place: Place, row: dict[str, Any], short_side: int) -> bool:
    """Whether the files that a row vouches for are all there; a bad video has none."""
    if row["status"] == "bad":
        return True
    if not place.packed.is_file() or not place.frames.is_dir():
        return False
    shape = (row["n_frames"], *packed_size(row["height"], row["width"], short_side), 3)
    n_jpegs = sum(1 for _ in place.frames.glob("*.jpg"))
    return n_jpegs == shape[0] and read_npy(place.packed, memory_map=True).shape == shape


def _row(place: Place, facts: VideoFacts, sha256: str) -> dict[str, Any]:
    group = group_of(place.video_id)
    identity = {"video_id": place.video_id, "class": place.class_name, "group": -1 if group is None else group}
    return {**identity, **asdict(facts), "sha256": sha256}


def _manifest(rows: list[dict[str, Any]], settings: dict[str, Any]) -> pd.DataFrame:
    """The part table; labels are filled in by the merge, when all classes are known."""
    common = {"label": -1, "recipe": recipe_of(settings)}
    return pd.DataFrame([{**row, **common} for row in rows], columns=list(MANIFEST_TYPES)).astype(MANIFEST_TYPES)
