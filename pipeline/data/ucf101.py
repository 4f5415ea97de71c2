"""`UCF101Dataset` (spec §3): windows of videos as tensors, and the loader that batches them.

It reads `data.root` (manifest, packed frames, splits) and the sound features, never raw videos. What a sample
looks like depends on (seed, epoch, index) alone, whatever the number of workers or ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..config.sections import RunConfig
from ..errors import ConfigError, DataError
from .clips import LightClip, collate_clips
from .packed import MappedArrays, packed_path, packed_size, rebuild_command
from .scrambled_labels import scramble_labels
from .sound_table import SoundTable
from .splits import Split
from .video_table import select_videos
from .windows import jittered_start, sample_frames, stride_of, window_table

__all__ = ["ClipPlan", "UCF101Dataset", "collate_clips", "make_loader"]

# Streams of random numbers beside the per-sample ones, which are keyed [seed, epoch, index].
ORDER_STREAM = (1,)
LABEL_STREAM = (2,)


@dataclass(frozen=True)
class ClipPlan:
    """Which pixels a sample consists of: frames of a video, a square crop's corner, mirrored or not."""

    video: int
    frame_ids: Int[np.ndarray, " T"]
    top: int
    left: int
    flip: bool


class UCF101Dataset(Dataset[dict[str, Any]]):
    """Windows of the videos of one split.

    Attributes:
        videos: one row per video: `video_id label group class has_audio n_frames first_frame stop_frame ...`.
        windows: one row per window: `video` (row of `videos`), `cover_len`, `start`.
        class_names: all classes in label order.
        num_classes: their number.
        use_audio: whether samples carry sound.
    """

    def __init__(self, cfg: RunConfig, split: Split) -> None:
        """
        Args:
            cfg: the `data` and `audio` sections and the seed are used.
            split: `train`, `val` (groups carved out of the training list) or `test`.

        Raises:
            DataError: anything `select_videos` or `SoundTable` find wrong.
        """
        self.cfg, self.split = cfg, split
        self.is_train = split == "train"
        self.use_audio = cfg.data.use_audio
        self.epoch = 0
        self.videos, self.class_names = select_videos(cfg, split)
        self.num_classes = len(self.class_names)
        if self.is_train and cfg.data.labels == "scrambled":
            rng = np.random.default_rng(np.random.SeedSequence([cfg.seed], spawn_key=LABEL_STREAM))
            self.videos["label"] = scramble_labels(self.videos["label"].to_numpy(), rng)
        self._sound = SoundTable(cfg, self.videos) if self.use_audio else None
        if self._sound is not None:
            self.videos["has_audio"] = self._sound.has_audio
        ratio = cfg.data.train_stride_ratio if self.is_train else cfg.data.eval_stride_ratio
        self._strides = {cover_len: stride_of(cover_len, ratio) for cover_len in cfg.data.clip_lens}
        first, stop = self.videos["first_frame"].to_numpy(), self.videos["stop_frame"].to_numpy()
        self.windows = window_table(first, stop, cfg.data.clip_lens, ratio)
        self._window_rows = self.windows.to_numpy()
        self._windows_of_scale = self.windows.groupby(["video", "cover_len"])["start"].transform("size").to_numpy()
        self._stop_frames = stop
        self._labels = self.videos["label"].tolist()
        self._video_ids = self.videos["video_id"].tolist()
        self._shapes = [
            (n_frames, *packed_size(height, width, cfg.data.short_side), 3)
            for n_frames, height, width in self.videos[["n_frames", "height", "width"]].itertuples(index=False)
        ]
        root = Path(cfg.data.root)
        self._packed = MappedArrays([packed_path(root, video_id) for video_id in self._video_ids], self._check_packed)

    def _check_packed(self, video: int, path: Path, array: np.ndarray) -> None:
        expected = self._shapes[video]
        if array.shape != expected or array.dtype != np.uint8:
            raise DataError(
                f"{path}: is {array.dtype} {array.shape}, manifest.parquet and data.short_side="
                f"{self.cfg.data.short_side} ask for uint8 {expected}; "
                f"rebuild it with {rebuild_command(Path(self.cfg.data.root), self.cfg.data.short_side)}"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that jitter, crop and mirroring of training samples belong to."""
        self.epoch = epoch

    def epoch_indices(self, epoch: int) -> Int[np.ndarray, " N"]:
        """Window indices of one training epoch in their order: all windows, or `data.windows_per_video` random
        ones of each video (all of a video that has fewer).

        A draw is as likely to be of one scale as of another: short windows are many, and drawn by their number
        they would crowd out the long ones. Waiting times that grow with the scale's count draw without
        replacement by weight (Efraimidis & Spirakis, 2006).
        """
        rng = np.random.default_rng(np.random.SeedSequence([self.cfg.seed, epoch], spawn_key=ORDER_STREAM))
        most = self.cfg.data.windows_per_video
        if most is None:
            return rng.permutation(len(self))
        owner = self._window_rows[:, 0]
        by_waiting = np.lexsort((rng.exponential(size=len(owner)) * self._windows_of_scale, owner))
        counts = np.bincount(owner, minlength=len(self.videos))
        rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rng.permutation(by_waiting[rank < most])

    def plan(self, index: int) -> ClipPlan:
        """Which pixels sample `index` consists of: random in training (jitter, crop, mirroring), fixed otherwise."""
        data = self.cfg.data
        video, cover_len, start = map(int, self._window_rows[index])
        stop = int(self._stop_frames[video])
        room_y, room_x = (size - data.image_size for size in self._shapes[video][1:3])
        top, left, flip = room_y // 2, room_x // 2, False
        if self.is_train:
            rng = np.random.default_rng([self.cfg.seed, self.epoch, index])
            if data.clip_jitter:
                start = jittered_start(start, cover_len, stop, self._strides[cover_len], rng)
            top, left = int(rng.integers(room_y + 1)), int(rng.integers(room_x + 1))
            flip = data.horizontal_flip and bool(rng.random() < 0.5)
        return ClipPlan(video, sample_frames(start, cover_len, stop, data.num_frames), top, left, flip)

    def __len__(self) -> int:
        return len(self._window_rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index` (spec §3.3): `video` float32 [T, 3, S, S], `label`, `video_id`; with sound also `audio`
        float32 [T, n_mels] (zeros if there is none) and `has_audio`."""
        light = self._light(index)
        batch = collate_clips([light])
        sample = {"video": batch["video"][0], "label": light["label"], "video_id": light["video_id"]}
        if self.use_audio:
            sample |= {"audio": batch["audio"][0], "has_audio": light["has_audio"]}
        return sample

    def __getitems__(self, indices: list[int]) -> list[LightClip]:
        """The loader's fast path: uint8 crops, which `collate_clips` turns into the same tensors once per batch."""
        return [self._light(index) for index in indices]

    def _light(self, index: int) -> LightClip:
        plan, side = self.plan(index), self.cfg.data.image_size
        packed = self._packed[plan.video]
        sample: LightClip = {
            "pixels": packed[plan.frame_ids, plan.top : plan.top + side, plan.left : plan.left + side],
            "flip": plan.flip,
            "input": self.cfg.data.input,
            "label": self._labels[plan.video],
            "video_id": self._video_ids[plan.video],
        }
        if self._sound is not None:
            sample["audio"] = self._sound.clip(plan.video, plan.frame_ids)
            sample["has_audio"] = bool(self._sound.has_audio[plan.video])
        return sample

    def audio_statistics(self) -> tuple[Float32[Tensor, " n_mels"], Float32[Tensor, " n_mels"]]:
        """Mean and standard deviation of each mel band over the training videos with sound.

        Raises:
            ValueError: not the training split, or no sound in the configuration.
        """
        if self._sound is None or not self.is_train:
            raise ValueError("audio statistics are taken on the training split with data.use_audio=true")
        return self._sound.statistics(self.videos["first_frame"].to_numpy(), self._stop_frames)


def make_loader(
    dataset: UCF101Dataset, epoch: int | None, rank: int = 0, world_size: int = 1
) -> DataLoader[dict[str, Any]]:
    """Batches of `data.batch_size` windows: one training epoch, or all windows in order if `epoch` is None.

    With several ranks each takes its slice of every batch. A last training batch that does not divide evenly is
    filled up from the epoch's beginning, so that no rank waits for another.

    Raises:
        ConfigError: the batch size is not a multiple of the ranks that train together.
    """
    data = dataset.cfg.data
    if epoch is None:
        order = np.arange(len(dataset))
    else:
        if data.batch_size % world_size:
            raise ConfigError(
                f"data.batch_size={data.batch_size} is not a multiple of training.devices={world_size}; change either"
            )
        dataset.set_epoch(epoch)
        order = dataset.epoch_indices(epoch)
        order = np.concatenate([order, np.resize(order, -len(order) % world_size)])
    batches = [order[start : start + data.batch_size] for start in range(0, len(order), data.batch_size)]
    mine = [batch[rank::world_size].tolist() for batch in batches if rank < len(batch)]
    return DataLoader(dataset, batch_sampler=mine, collate_fn=collate_clips, num_workers=data.num_workers)
