"""From cropped uint8 frames to the batch a model reads: one allocation per batch, normalised in place."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.utils.data import default_collate


class _Clip(TypedDict):
    pixels: UInt8[np.ndarray, "T S S 3"]
    flip: bool
    input: Literal["raw", "minus_clip_mean"]
    label: int
    video_id: str


class LightClip(_Clip, total=False):
    """A clip as `UCF101Dataset.__getitems__` hands it to `collate_clips`: pixels as stored, not yet mirrored."""

    audio: Float32[np.ndarray, "T n_mels"]
    has_audio: bool


def normalise_(clip: Float32[Tensor, "T 3 S S"], kind: Literal["raw", "minus_clip_mean"]) -> None:
    """Map values 0..255 in place: `raw` to [-1, 1]; `minus_clip_mean` to twice the deviation of that from its
    mean over the T sampled frames, which leaves what moves."""
    clip.div_(127.5).sub_(1.0)
    if kind == "minus_clip_mean":
        clip.sub_(clip.mean(dim=0)).mul_(2.0)


def collate_clips(samples: list[Any]) -> dict[str, Any]:
    """Make a batch of light clips (or of finished samples, as `UCF101Dataset.__getitem__` returns them).

    Returns:
        `video` float32 [B, T, 3, S, S], `label` int64 [B], `video_id` list of B, and with sound `audio`
        float32 [B, T, n_mels] and `has_audio` bool [B].
    """
    if "video" in samples[0]:
        batch: dict[str, Any] = default_collate(samples)
        return batch
    num_frames, side = samples[0]["pixels"].shape[:2]
    video = torch.empty(len(samples), num_frames, 3, side, side)
    # Clip by clip, so that each is still in the processor's cache while it is normalised.
    for clip, sample in zip(video, samples, strict=True):
        pixels = sample["pixels"][:, :, ::-1] if sample["flip"] else sample["pixels"]
        # Reordering bytes in NumPy and then widening is twice as fast as torch's strided copy to float.
        clip.copy_(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))))
        normalise_(clip, sample["input"])
    batch = {
        "video": video,
        "label": torch.tensor([sample["label"] for sample in samples], dtype=torch.int64),
        "video_id": [sample["video_id"] for sample in samples],
    }
    if "audio" in samples[0]:
        batch["audio"] = torch.from_numpy(np.stack([sample["audio"] for sample in samples]))
        batch["has_audio"] = torch.tensor([sample["has_audio"] for sample in samples], dtype=torch.bool)
    return batch
