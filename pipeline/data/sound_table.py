"""The sound features of a split's videos: whose sound each video gets, and reading it by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from ..artifacts import read_parquet
from ..config.sections import RunConfig
from ..errors import DataError
from .packed import MappedArrays

MAKING_COMMAND = "python -m scripts.preprocess_ucf101_audio --cfg configs/preprocess_ucf101_audio.yaml"


class SoundTable:
    """Log-mel features per video row; `has_audio` says whether what a video gets is sound and not a stand-in."""

    def __init__(self, cfg: RunConfig, videos: pd.DataFrame) -> None:
        """
        Args:
            cfg: `data.audio_root`, `data.audio`, `audio.n_mels`, `seed`.
            videos: rows of the split with `video_id` and `n_frames`.

        With `data.audio: shuffled` a video gets the sound of another one; an only video gets none, and a line says so.

        Raises:
            DataError: no `audio.parquet`, a video it lacks, or a length other than the video's.
        """
        root = Path(cfg.data.audio_root or Path(cfg.data.root) / "audio")
        own = _own_sound(root, videos)
        donor = np.arange(len(videos))
        if cfg.data.audio == "shuffled":
            own, donor = _shuffled(own, videos, cfg.seed)
        self.n_mels = cfg.audio.n_mels
        self.has_audio: Bool[np.ndarray, " V"] = own[donor]
        self._donor = donor
        self._n_frames = videos["n_frames"].to_numpy()
        self._arrays = MappedArrays([root / f"{video_id}.npy" for video_id in videos["video_id"]], self._check)

    def _check(self, video: int, path: Path, array: np.ndarray) -> None:
        expected = (int(self._n_frames[video]), self.n_mels)
        if array.shape != expected or array.dtype != np.float32:
            raise DataError(
                f"{path}: is {array.dtype} {array.shape}, the manifest and audio.n_mels ask for float32 {expected}; "
                f"delete it and make it again with {MAKING_COMMAND}"
            )

    def clip(self, video: int, frame_ids: Int[np.ndarray, " T"]) -> Float32[np.ndarray, "T n_mels"]:
        """The features at the given frames; zeros without sound. A donor's sound is held at its end."""
        if not self.has_audio[video]:
            return np.zeros((len(frame_ids), self.n_mels), np.float32)
        array = self._arrays[int(self._donor[video])]
        return array[np.minimum(frame_ids, len(array) - 1)]

    def statistics(
        self, first_frames: Int[np.ndarray, " V"], stop_frames: Int[np.ndarray, " V"]
    ) -> tuple[Float32[Tensor, " n_mels"], Float32[Tensor, " n_mels"]]:
        """Mean and standard deviation per band over all frames of the videos with sound; a constant band has 1."""
        count, total, squares = 0, np.zeros(self.n_mels), np.zeros(self.n_mels)
        for video in np.flatnonzero(self.has_audio):
            part = self.clip(int(video), np.arange(first_frames[video], stop_frames[video])).astype(np.float64)
            count += len(part)
            total += part.sum(axis=0)
            squares += (part**2).sum(axis=0)
        mean = total / max(1, count)
        variance = np.maximum(squares / max(1, count) - mean**2, 0.0)
        std = np.where(variance > 1e-12, np.sqrt(variance), 1.0)
        return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


def derangement(count: int, seed: np.random.SeedSequence) -> Int[np.ndarray, " V"]:
    """A random permutation that leaves nothing in its place: one cycle through a random order.

    Raises:
        ValueError: there is only one item.
    """
    if count == 1:
        raise ValueError("a single item has no other place")
    order = np.random.default_rng(seed).permutation(count)
    donor = np.empty(count, dtype=np.int64)
    donor[order] = np.roll(order, 1)
    return donor


def _shuffled(
    own: Bool[np.ndarray, " V"], videos: pd.DataFrame, seed: int
) -> tuple[Bool[np.ndarray, " V"], Int[np.ndarray, " V"]]:
    """Which videos have sound to give, and whose sound each video gets."""
    if len(videos) == 1:
        name = videos["video_id"].iloc[0]
        print(f"data.audio=shuffled: {name} is the only video of its split; it gets no sound", flush=True)
        return np.zeros_like(own), np.arange(1)
    return own, derangement(len(videos), np.random.SeedSequence([seed], spawn_key=(3,)))


def _own_sound(root: Path, videos: pd.DataFrame) -> Bool[np.ndarray, " V"]:
    """Which videos have sound of their own, after checking that every one has features of its length."""
    path = root.parent / "audio.parquet"
    if not path.is_file():
        raise DataError(f"{path}: no such file (resolved: {path.resolve()}); make it with {MAKING_COMMAND}")
    table = read_parquet(path, ("video_id", "status", "n_frames"))
    lengths = dict(zip(table["video_id"], table["n_frames"], strict=True))
    for video_id, n_frames in zip(videos["video_id"], videos["n_frames"], strict=True):
        if video_id not in lengths:
            raise DataError(f"{path}: has no row for {video_id}; make it with {MAKING_COMMAND}")
        if lengths[video_id] != n_frames:
            raise DataError(
                f"{path}: {video_id} has features for {lengths[video_id]} frames, the manifest says {n_frames}; "
                f"run {MAKING_COMMAND} again"
            )
    with_sound = set(table.loc[table["status"] == "ok", "video_id"])
    return np.array([video_id in with_sound for video_id in videos["video_id"]], dtype=bool)
