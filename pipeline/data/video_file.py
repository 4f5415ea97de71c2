"""Decoding one video file, once and in order, and finding the files of a raw folder.

Frame identity is decode order. Timestamps and seeking are never used: on B-frame clips of UCF-101 both
return the wrong frame (two thirds of the timestamps of v_ApplyEyeMakeup_g01_c01 are out of order).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from jaxtyping import UInt8

from ..errors import DataError

# FFmpeg's AVI muxer writes decoded + 1 into the header of clips with sound, so one frame is no loss.
HEADER_SLACK = 1


@dataclass(frozen=True)
class VideoFacts:
    """What one file turned out to hold; `fps` is the container's rate, None if unknown; `message` tells its faults."""

    n_frames: int = 0
    fps: float | None = None
    width: int = 0
    height: int = 0
    has_audio: bool = False
    status: Literal["ok", "truncated", "bad"] = "bad"
    message: str = ""


def open_container(path: Path | str) -> Any:
    """Open a media file for reading; metadata that is not UTF-8 (found in HMDB51) is replaced, not fatal.

    Raises:
        av.error.FFmpegError: not a media file.
    """
    return av.open(str(path), metadata_errors="replace")


def decode_video(path: Path | str, take_frame: Callable[[UInt8[np.ndarray, "H W 3"]], None]) -> VideoFacts:
    """Decode all frames of a file and hand each one to `take_frame`, in decode order.

    Damage never raises: it ends in the status. `bad`: not usable, `n_frames` is 0; no frame decodes, or the
    container states no frame rate (then none is decoded). `truncated`: fewer frames than the header promises (an
    AVI cut short decodes without any exception), or an error part-way.

    Args:
        path: any container FFmpeg reads.
        take_frame: called once per frame with RGB pixels; its exceptions pass through.
    """
    try:
        container = open_container(path)
    except av.error.FFmpegError as error:
        return VideoFacts(message=_why_not_open(Path(path), error))
    with container:
        has_audio = len(container.streams.audio) > 0
        if not container.streams.video:
            return VideoFacts(has_audio=has_audio, message="no video track")
        stream = container.streams.video[0]
        facts = VideoFacts(fps=frame_rate(container), has_audio=has_audio)
        if facts.fps is None:
            return replace(facts, message="the container states no frame rate")
        n_frames, (width, height), complaint = _decode_stream(container, stream, take_frame)
    return _judge(replace(facts, n_frames=n_frames, width=width, height=height), stream.frames, complaint)


def frame_rate(container: Any) -> float | None:
    """Frames per second as the container states them (timestamps are unsafe), None if it does not."""
    if not container.streams.video:
        return None
    stream = container.streams.video[0]
    rate = stream.average_rate or stream.base_rate or stream.guessed_rate
    return float(rate) if rate else None


def _decode_stream(
    container: Any, stream: Any, take_frame: Callable[[UInt8[np.ndarray, "H W 3"]], None]
) -> tuple[int, tuple[int, int], str]:
    """Number of frames, their (width, height), and what ended the decoding early, if anything."""
    n_frames = 0
    size = (0, 0)
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames, None)
            pixels = None if frame is None else frame.to_ndarray(format="rgb24")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            return n_frames, size, _reason(error)
        if frame is None or pixels is None:
            return n_frames, size, ""
        if n_frames and (frame.width, frame.height) != size:
            return n_frames, size, f"the picture size changes from {size[0]}x{size[1]} to {frame.width}x{frame.height}"
        size = (frame.width, frame.height)
        take_frame(pixels)
        n_frames += 1


def _judge(facts: VideoFacts, n_header: int, complaint: str) -> VideoFacts:
    if facts.n_frames == 0:
        reason = complaint or f"the header promises {n_header} frames"
        return replace(facts, message=f"no frame decodes ({reason})")
    if complaint:
        return replace(facts, status="truncated", message=f"decoding stops after {facts.n_frames} frames: {complaint}")
    if facts.n_frames < n_header - HEADER_SLACK:
        return replace(facts, status="truncated", message=f"{facts.n_frames} of {n_header} frames decode")
    return replace(facts, status="ok")


def unreadable(error: OSError) -> str:
    """The message of a raw file that the system does not let us read."""
    return f"the file cannot be read: {_reason(error)}"


def _why_not_open(path: Path, error: Exception) -> str:
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
    except OSError as missing:
        return unreadable(missing)
    return unreadable(error) if isinstance(error, OSError) else f"not a readable video: {_reason(error)}"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def raw_videos(raw: Path) -> list[Path]:
    """All `Class/*.avi` under `raw`, sorted by class and name; a link that leads nowhere is one that cannot be read.

    Raises:
        DataError: no such folder, no such file in it, or one video id in two folders.
    """
    if not raw.is_dir():
        raise DataError(f"{raw}: no such folder (resolved: {raw.resolve()}); give the folder that holds Class/*.avi")
    found = sorted(
        path
        for path in raw.glob("*/*")
        if path.suffix.lower() == ".avi" and (path.is_file() or (path.is_symlink() and not path.exists()))
    )
    if not found:
        raise DataError(f"{raw}: holds no Class/v_<Name>_gXX_cYY.avi; give the folder above the class folders")
    first: dict[str, Path] = {}
    for path in found:
        if path.stem in first:
            raise DataError(f"{path}: the video id {path.stem} is also {first[path.stem]}; rename one of them")
        first[path.stem] = path
    return found


def other_files(raw: Path) -> list[str]:
    """Names of the files in class folders that `raw_videos` leaves out because they are not `.avi`."""
    return sorted(path.name for path in raw.glob("*/[!.]*") if path.is_file() and path.suffix.lower() != ".avi")
