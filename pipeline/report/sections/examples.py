"""Example clips: eight frames of a test video per class, its sound under them, and what the baseline made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from markupsafe import Markup
from PIL import Image

from ...artifacts import read_npy, read_parquet
from ...data.jpeg_tree import frame_path
from ..blocks import Block, Html, Prose, Section, is_missing
from ..context import BASELINE, Context
from ..formats import percent
from ..pictures import colours_of, data_uri, read_frame
from ..tables import usable_videos
from ..templating import render_template

FRAMES = 8
FRAME_WIDTH = 128
MAX_CLASSES = 12


@dataclass(frozen=True)
class Example:
    """What the template shows of one clip; pictures are data URIs, boxes are in pixels of the strip."""

    video_id: str
    true_class: str
    outcome: str
    correct: bool | None
    strip_uri: str
    strip_width: int
    strip_height: int
    boxes: list[tuple[float, float, float, float]]
    frame_numbers: list[int]
    sound_uri: str | None
    sound_note: str
    n_frames: int
    duration_s: float | None


def section(context: Context) -> Section:
    """The first test video by name of each class: not chosen by its result."""
    manifest = context.data.manifest
    if manifest is None:
        return Section("examples", "Example clips", (Prose(Markup("Not made yet: there is no data folder.")),))
    baseline = context.arm(BASELINE)
    runs = baseline.runs if baseline is not None else ()
    predictions = runs[0].predictions.query("split == 'test'").set_index("video_id") if runs else None
    rows, classes = _chosen(context, manifest, predictions)
    truth_path = context.results / "data" / "raw" / "truth.parquet"
    truth = read_parquet(truth_path, ("video_id", "frame", "x0", "y0", "x1", "y1")) if truth_path.is_file() else None
    examples = [_example(context, row, predictions, truth) for row in rows]
    shown = [example for example in examples if example is not None]
    if not shown:
        return Section("examples", "Example clips", (Prose(Markup("No test video has frames on disk.")),))
    blocks: list[Block] = [Prose(_intro(context, len(shown), classes, truth is not None))]
    blocks.append(Html(render_template("examples.html.jinja", examples=shown, baseline=BASELINE)))
    return Section("examples", "Example clips", tuple(blocks))


def log_mel_picture(features: Float[np.ndarray, "L M"]) -> UInt8[np.ndarray, "M L 3"]:
    """Features as RGB: time to the right, low bands at the bottom, from the quietest 1 % to the loudest of the clip."""
    levels = features.T[::-1].astype(np.float64)
    quiet, loud = np.quantile(levels, 0.01), levels.max()
    return colours_of((levels - quiet) / max(loud - quiet, 1e-6))


def frame_indices(n_frames: int) -> list[int]:
    """0-based frames in the middle of each eighth of a video, so that the strip is a time axis."""
    return [min(n_frames - 1, int((k + 0.5) * n_frames / FRAMES)) for k in range(FRAMES)]


def _intro(context: Context, shown: int, classes: int, has_truth: bool) -> Markup:
    some = f" {shown} of {classes} classes are shown." if shown < classes else ""
    box = " Boxes mark the moving target as the generator placed it." if has_truth else ""
    by_time = context.config.data.splits == "by_time"
    part = " The whole video is shown; tested is its last fifth." if by_time else ""
    return Markup(
        "The first test video of each class by name, not chosen by its result.{} Frames stand in the middle of each "
        "eighth of the video; below, on the same time axis, its log-mel spectrogram (low tones at the bottom, bright "
        "is loud, scaled to each clip).{}{}"
    ).format(some, part, box)


def _chosen(context: Context, manifest: pd.DataFrame, predictions: pd.DataFrame | None) -> tuple[list[pd.Series], int]:
    usable = usable_videos(manifest[manifest["label"] >= 0])
    tested = context.data.listed.get("test", frozenset()) if predictions is None else set(predictions.index)
    candidates = usable[usable["video_id"].isin(list(tested))].sort_values(["label", "video_id"])
    first = candidates.groupby("label").head(1)
    return [row for _, row in first.head(MAX_CLASSES).iterrows()], len(first)


def _example(
    context: Context, row: pd.Series, predictions: pd.DataFrame | None, truth: pd.DataFrame | None
) -> Example | None:
    folder = context.data.frames / row["class"] / row["video_id"]
    if not folder.is_dir():
        return None
    indices = frame_indices(int(row["n_frames"]))
    strip, scale = _strip(folder, indices)
    outcome, correct = _outcome(row, predictions, context.data.class_names())
    sound, note = _sound(context, row)
    return Example(
        video_id=row["video_id"],
        true_class=row["class"],
        outcome=outcome,
        correct=correct,
        strip_uri=data_uri(strip, "WEBP", quality=72, method=6),
        strip_width=strip.width,
        strip_height=strip.height,
        boxes=_boxes(truth, row["video_id"], indices, scale),
        frame_numbers=[index + 1 for index in indices],
        sound_uri=sound,
        sound_note=note,
        n_frames=int(row["n_frames"]),
        duration_s=None if is_missing(row["seconds"]) else float(row["seconds"]),
    )


def _strip(folder: Path, indices: list[int]) -> tuple[Image.Image, float]:
    """Frames side by side, and the factor from native to shown pixels."""
    pictures = [read_frame(frame_path(folder, index)) for index in indices]
    scale = FRAME_WIDTH / pictures[0].width
    height = round(pictures[0].height * scale)
    strip = Image.new("RGB", (FRAME_WIDTH * len(pictures), height))
    for k, picture in enumerate(pictures):
        strip.paste(picture.resize((FRAME_WIDTH, height), Image.Resampling.LANCZOS), (k * FRAME_WIDTH, 0))
    return strip, scale


def _boxes(
    truth: pd.DataFrame | None, video_id: str, indices: list[int], scale: float
) -> list[tuple[float, float, float, float]]:
    """x, y, width, height of the target in each shown frame, in pixels of the strip."""
    if truth is None:
        return []
    mine = truth[truth["video_id"] == video_id].set_index("frame")[["x0", "y0", "x1", "y1"]].dropna()
    corners = {int(str(frame)): values for frame, values in zip(mine.index, mine.to_numpy() * scale, strict=True)}
    boxes = []
    for k, index in enumerate(indices):
        if index in corners:
            x0, y0, x1, y1 = map(float, corners[index])
            boxes.append((k * FRAME_WIDTH + x0, y0, x1 - x0, y1 - y0))
    return boxes


def _outcome(row: pd.Series, predictions: pd.DataFrame | None, names: dict[int, str]) -> tuple[str, bool | None]:
    if predictions is None:
        return "baseline not run", None
    mine = predictions.loc[row["video_id"]]
    predicted = int(mine["prediction"])
    sure = mine.get(f"p_{predicted}")
    probability = f" with probability {percent(float(sure))}" if sure is not None else ""
    right = predicted == int(row["label"])
    verb = "recognised as" if right else "taken for"
    return f"{verb} {names.get(predicted, f'class {predicted}')}{probability}", right


def _sound(context: Context, row: pd.Series) -> tuple[str | None, str]:
    path = context.data.audio_features / f"{row['video_id']}.npy"
    if not path.is_file():
        return None, "no sound features computed"
    features = read_npy(path)
    if not features.any():
        return None, "silence" if row["has_audio"] or is_missing(row["seconds"]) else "no sound track"
    return data_uri(Image.fromarray(log_mel_picture(features)), "PNG", optimize=True), f"{features.shape[1]} mel bands"
