"""Pictures of what a pruner saw and kept: frames, scores and masks of one clip over time, and the entropy of places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from ..artifacts import read_npy, read_parquet
from ..data.jpeg_tree import frame_path
from ..data.packed import packed_size
from ..errors import DataError
from .formats import percent
from .pictures import colours_of, data_uri, read_frame
from .tables import DataFolder, Run

SIDE = 112
# What a dropped token's pixels keep of their contrast to the page.
DIMMED = 0.22
COLUMNS = ("video_id", "label", "frame_ids", "top", "left")


@dataclass(frozen=True)
class MaskedClip:
    """What the template shows of one clip; pictures are data URIs, T frames side by side."""

    video_id: str
    class_name: str
    frames: list[int]
    kept: str
    picture_uri: str
    mask_uri: str
    score_uri: str
    entropy_uri: str | None
    entropy_note: str
    width: int
    side: int


def masked_clips(run: Run, data: DataFolder) -> list[MaskedClip]:
    """The recorded clips of a pruned run whose frames are still on disk.

    Raises:
        DataError: the record is damaged.
    """
    folder = run.folder / "pruning"
    if not (folder / "windows.parquet").is_file() or data.manifest is None:
        return []
    windows = read_parquet(folder / "windows.parquet", COLUMNS)
    kept, scores, entropy = (read_npy(folder / f"{name}.npy") for name in ("kept", "scores", "entropy"))
    if not len(windows) == len(kept) == len(scores) == len(entropy):
        raise DataError(f"{folder}: its files are of different runs; delete the run folder and make it again")
    shown = data.manifest[data.manifest["video_id"].isin(windows["video_id"])]
    videos = {str(video["video_id"]): video for _, video in shown.iterrows()}
    names = data.class_names()
    clips = []
    for position, (_, window) in enumerate(windows.iterrows()):
        video = videos.get(str(window["video_id"]))
        tree = None if video is None else data.frames / str(video["class"]) / str(video["video_id"])
        if video is not None and tree is not None and tree.is_dir():
            pictures = _crops(run, video, window, tree)
            values = (kept[position], scores[position], entropy[position])
            clips.append(_clip(str(video["video_id"]), names.get(int(window["label"]), "?"), window, pictures, *values))
    return clips


def _crops(run: Run, video: pd.Series, window: pd.Series, tree: Path) -> UInt8[np.ndarray, "T S S 3"]:
    """What the network saw of each frame, enlarged."""
    config = run.config.data
    height, width = packed_size(int(video["height"]), int(video["width"]), config.short_side)
    top, left, side = int(window["top"]), int(window["left"]), config.image_size
    pictures = []
    for index in window["frame_ids"]:
        picture = read_frame(frame_path(tree, int(index))).resize((width, height), Image.Resampling.BILINEAR)
        crop = picture.crop((left, top, left + side, top + side))
        pictures.append(np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    return np.stack(pictures)


def _clip(
    video_id: str,
    class_name: str,
    window: pd.Series,
    pictures: UInt8[np.ndarray, "T S S 3"],
    kept: Bool[np.ndarray, "T N"],
    scores: Float[np.ndarray, "T N"],
    entropy: Float[np.ndarray, " N"],
) -> MaskedClip:
    known = bool(np.isfinite(entropy).all())
    low, high = (float(entropy.min()), float(entropy.max())) if known else (0.0, 0.0)
    return MaskedClip(
        video_id=video_id,
        class_name=class_name,
        frames=[int(index) + 1 for index in window["frame_ids"]],
        kept=percent(float(kept.mean())),
        picture_uri=_strip_uri(pictures),
        mask_uri=_strip_uri(dim_dropped(pictures, kept)),
        score_uri=_strip_uri(_enlarged(colours_of(_scaled(scores)))),
        entropy_uri=_strip_uri(_enlarged(colours_of(_scaled(entropy[None])))) if known else None,
        entropy_note=f"{low:.2f} to {high:.2f} nat" if known else "",
        width=SIDE * len(pictures),
        side=SIDE,
    )


def dim_dropped(pictures: UInt8[np.ndarray, "T S S 3"], kept: Bool[np.ndarray, "T N"]) -> UInt8[np.ndarray, "T S S 3"]:
    """Grey and pale where a token was dropped, unchanged where it was kept."""
    stays = _enlarged(kept)[..., None]
    grey = pictures.mean(axis=-1, keepdims=True)
    pale = 235 + DIMMED * (grey - 235)
    return np.where(stays, pictures, pale).round().astype(np.uint8)


def _scaled(values: Float[np.ndarray, "T N"]) -> Float[np.ndarray, "T N"]:
    """To [0, 1] over the clip; 1/2 where all are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)


def _enlarged(values: np.ndarray) -> np.ndarray:
    """[T, N, ...] as square pictures [T, SIDE, SIDE, ...]: every patch a block of pixels."""
    grid = round(values.shape[1] ** 0.5)
    place = np.arange(SIDE) * grid // SIDE
    squares = values.reshape(len(values), grid, grid, *values.shape[2:])
    return squares[:, place[:, None], place[None, :]]


def _strip_uri(pictures: UInt8[np.ndarray, "T S S 3"]) -> str:
    return data_uri(Image.fromarray(np.concatenate(list(pictures), axis=1)), "WEBP", quality=80, method=6)
