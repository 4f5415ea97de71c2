"""Log-mel features of a video's sound, one row per video frame (spec §4).

Departures from the spec, each for a measured reason: presence of a track is asked of the container (a failed
decode looks the same otherwise); channels are averaged before resampling (FFmpeg's own downmix overshoots);
windows are centred on the frames (dividing the spectrogram equally drifts by up to 6 s when the sound ends
early); the dB reference is fixed and the scale is [0, 1], so that silence and a missing track are both 0.
`ref: max` and `align: spec` bring back the spec's own computation; its dB in [-80, 0] are still stored as
[0, 1], and a wholly silent track is still 0 (the spec's formula would make it the loudest there is).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
import librosa
import numpy as np
import pandas as pd
import soxr
from jaxtyping import Float32

from ..artifacts import read_npy, write_npy, write_parquet
from ..errors import DataError
from .jpeg_tree import frame_files
from .receipts import is_same_file, read_receipt, remove_leftovers, source_of, write_receipt
from .recipe import code_and_libraries, recipe_of
from .shards import Shard, each_of_shard, join_parts, summary_line, write_part
from .video_file import frame_rate, open_container, raw_videos, unreadable

if TYPE_CHECKING:
    from ..config.sections import AudioConfig, PreprocessAudioData

FLOOR_DB = -80.0
STATUSES = ("ok", "no_audio", "decode_error", "bad")
TABLE_TYPES = {
    "video_id": "str",
    "status": "str",
    "message": "str",
    "n_frames": "int64",
    "duration_s": "float64",
    "recipe": "str",
}


@dataclass(frozen=True)
class Sound:
    """What a file's first sound track turned out to hold; `fps` is the container's video rate, None if unknown."""

    samples: Float32[np.ndarray, " S"]
    fps: float | None
    status: Literal["ok", "no_audio", "decode_error"] = "ok"
    message: str = ""


def read_sound(video: Path, sample_rate: int) -> Sound:
    """Decode the first sound track to one channel at `sample_rate`; damage ends in the status, never raises."""
    silence = np.zeros(0, np.float32)
    try:
        container = open_container(video)
    except av.error.FFmpegError as error:
        return Sound(silence, None, "decode_error", f"not a readable video: {error.strerror or error}")
    with container:
        fps = frame_rate(container)
        if not container.streams.audio:
            return Sound(silence, fps, "no_audio", "no sound track")
        track = container.streams.audio[0]
        try:
            channels = _decode(container, track)
        except (av.error.FFmpegError, ValueError) as error:
            return Sound(silence, fps, "decode_error", f"the sound track does not decode: {error}")
        if not sum(part.shape[1] for part in channels):
            return Sound(silence, fps, "decode_error", "the sound track holds no samples")
        mono = np.concatenate(channels, axis=1).mean(axis=0)
        return Sound(soxr.resample(mono, track.rate, sample_rate), fps)


def _decode(container: Any, track: Any) -> list[Float32[np.ndarray, "_ _"]]:
    # The resampler changes the sample format only: averaging its layout here would overshoot.
    planar = av.AudioResampler(format="fltp", layout=track.layout, rate=track.rate)
    frames = [part for frame in container.decode(track) for part in planar.resample(frame)]
    if frames:
        frames += planar.resample(None)
    return [frame.to_ndarray() for frame in frames]


def frame_windows(
    samples: Float32[np.ndarray, " S"], n_frames: int, fps: float, config: AudioConfig
) -> Float32[np.ndarray, "L n_fft"]:
    """The `n_fft` samples centred on the middle of each video frame, (k + 0.5) / fps seconds; zeros outside."""
    starts = np.round((np.arange(n_frames) + 0.5) / fps * config.sample_rate).astype(np.int64) - config.n_fft // 2
    before = config.n_fft // 2
    after = max(0, int(starts[-1]) + config.n_fft - len(samples))
    padded = np.pad(samples, (before, after))
    return np.lib.stride_tricks.sliding_window_view(padded, config.n_fft)[starts + before]


def mel_power(windows: Float32[np.ndarray, "L n_fft"], config: AudioConfig) -> Float32[np.ndarray, "L n_mels"]:
    """Mel power of given windows: what `librosa.feature.melspectrogram` computes on its own windows."""
    hann = librosa.filters.get_window("hann", config.n_fft, fftbins=True).astype(np.float32)
    power = np.abs(np.fft.rfft(windows * hann)) ** 2
    filters = librosa.filters.mel(sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels)
    return (power @ filters.T).astype(np.float32)


def to_unit_scale(power: Float32[np.ndarray, "A B"], ref: Literal["fixed", "max"]) -> Float32[np.ndarray, "A B"]:
    """Power to dB below 1.0 or below the clip's maximum, clipped to [-80, 0], as [0, 1]: silence is 0."""
    loudest = float(power.max(initial=0.0))
    if loudest == 0.0:
        return np.zeros_like(power)
    decibels = librosa.power_to_db(power, ref=1.0 if ref == "fixed" else loudest, top_db=None)
    return ((np.clip(decibels, FLOOR_DB, 0.0) - FLOOR_DB) / -FLOOR_DB).astype(np.float32)


def equal_division(columns: Float32[np.ndarray, "n_mels T"], n_frames: int) -> Float32[np.ndarray, "L n_mels"]:
    """The spec's §4.2 step 4: T columns cut into L runs of at least one column, each averaged."""
    bounds = np.linspace(0, columns.shape[1], n_frames + 1).astype(int)
    return np.stack([columns[:, a : max(b, a + 1)].mean(axis=1) for a, b in pairwise(bounds)])


def log_mel(
    samples: Float32[np.ndarray, " S"], n_frames: int, fps: float, config: AudioConfig
) -> Float32[np.ndarray, "L n_mels"]:
    """Features in [0, 1] of a sound for L = `n_frames` video frames.

    Args:
        samples: one channel at `config.sample_rate`; may end before the video does.
        n_frames: L, at least 1.
        fps: video frames per second; used by `align: frame` only.
        config: windows, bands, reference and alignment.
    """
    if config.align == "frame":
        return to_unit_scale(mel_power(frame_windows(samples, n_frames, fps, config), config), config.ref)
    power = librosa.feature.melspectrogram(
        y=samples, sr=config.sample_rate, n_mels=config.n_mels, n_fft=config.n_fft, hop_length=config.hop_length
    )
    return equal_division(to_unit_scale(power, config.ref), n_frames).astype(np.float32)


def preprocess_shard(config: PreprocessAudioData, shard: Shard) -> None:
    """Write the features of one shard's videos and their part table.

    A video with at least one extracted frame always gets a file: zeros and a warning if its sound is missing
    or does not decode, or if the raw file can no longer be read. One without frames gets none and the status `bad`.

    Raises:
        DataError: no videos, no extracted frames at all, or a full disk.
    """
    videos = raw_videos(Path(config.raw_video_root))
    if not Path(config.frames_root).is_dir():
        raise DataError(
            f"data.frames_root={config.frames_root}: no such folder (resolved: {Path(config.frames_root).resolve()}); "
            f"make it with python -m scripts.extract_frames --raw {config.raw_video_root} --out DIR"
        )
    settings = _settings(config)
    mine = each_of_shard(videos, shard, Path(config.audio_root).parent, "audio")
    rows = [{**_row(video, config, settings), "recipe": recipe_of(settings)} for video in mine]
    table = pd.DataFrame(rows, columns=list(TABLE_TYPES)).astype(TABLE_TYPES)
    write_part(Path(config.audio_root).parent, "audio", shard, table, STATUSES)


def merge_audio(config: PreprocessAudioData, shards: int) -> None:
    """Join the part tables of all shards to `audio.parquet` beside `audio_root` and print a summary.

    Raises:
        DataError: a part is missing.
    """
    folder = Path(config.audio_root).parent
    table = join_parts(folder, "audio", shards, list(TABLE_TYPES))
    write_parquet(folder / "audio.parquet", table)
    print(summary_line(table, STATUSES), flush=True)


def _settings(config: PreprocessAudioData) -> dict[str, Any]:
    made_with = code_and_libraries("pipeline.data.audio", "av", "librosa", "numpy", "soxr")
    return {**config.model_dump(exclude={"raw_video_root", "frames_root", "audio_root"}), **made_with}


def _row(video: Path, config: PreprocessAudioData, settings: dict[str, Any]) -> dict[str, Any]:
    target = Path(config.audio_root) / f"{video.stem}.npy"
    receipt_path = Path(config.audio_root).parent / "audio_rows" / f"{video.stem}.json"
    n_frames = len(frame_files(Path(config.frames_root) / video.parent.name / video.stem))
    settings = {**settings, "n_frames": n_frames}
    receipt = read_receipt(receipt_path)
    if receipt is not None and receipt["settings"] == settings and is_same_file(receipt["source"], video):
        shape = (n_frames, config.n_mels)
        if not n_frames or (target.is_file() and read_npy(target, memory_map=True).shape == shape):
            return receipt["row"]
    for path in (target, receipt_path):
        remove_leftovers(path)
    try:
        source = source_of(video)
    except OSError as error:
        receipt_path.unlink(missing_ok=True)
        return _write_features(video, target, n_frames, config, unreadable(error))
    row = _write_features(video, target, n_frames, config)
    # One that vanished meanwhile is looked at again when it is back.
    if video.is_file():
        write_receipt(receipt_path, source, settings, row)
    return row


def _write_features(
    video: Path, target: Path, n_frames: int, config: PreprocessAudioData, fault: str = ""
) -> dict[str, Any]:
    """Write one video's features and return its row; a `fault` of the file stands for its sound."""
    identity = {"video_id": video.stem, "n_frames": n_frames}
    if n_frames == 0:
        target.unlink(missing_ok=True)
        message = "; ".join(["no extracted frames", *([fault] if fault else [])])
        return {**identity, "status": "bad", "message": message, "duration_s": 0.0}
    if fault:
        sound = Sound(np.zeros(0, np.float32), None, "decode_error", fault)
    else:
        sound = read_sound(video, config.sample_rate)
    status, message = sound.status, sound.message
    if status == "ok" and sound.fps is None:
        status, message = "decode_error", "the container states no frame rate"
    if status == "ok" and sound.fps is not None:
        features = log_mel(sound.samples, n_frames, sound.fps, config)
    else:
        features = np.zeros((n_frames, config.n_mels), np.float32)
        print(f"warning: {video}: {message}; its features are zeros", file=sys.stderr, flush=True)
    write_npy(target, features)
    duration_s = len(sound.samples) / config.sample_rate
    return {**identity, "status": status, "message": message, "duration_s": duration_s}
