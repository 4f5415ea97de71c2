"""Evaluation: class probabilities of every window and every video, and the weight of the sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..data.ucf101 import UCF101Dataset, make_loader
from .metrics import Metric, mean_over_windows, negative_log_likelihood, top_k_share, video_metrics

AUDIO_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class WindowLogits:
    """Logits of all windows of a split, in window order; one array per separately trained net.

    `token_mask` tells which tokens a pruner kept at its last prune layer; None without one.
    """

    logits: Float[np.ndarray, "W C"]
    branches: list[Float[np.ndarray, "W C"]]
    token_mask: Bool[np.ndarray, "W T N"] | None = None


def forward_batch(model: nn.Module, batch: dict, device: torch.device) -> tuple[Float[Tensor, "B C"], dict]:
    """Run a model on a collated batch, with sound if the batch has it."""
    video = batch["video"].to(device)
    if "audio" not in batch:
        return model(video, return_intermediate=True)
    has_audio = batch["has_audio"].to(device)
    return model(video, batch["audio"].to(device), return_intermediate=True, has_audio=has_audio)


@torch.no_grad()
def window_logits(model: nn.Module, dataset: UCF101Dataset, device: torch.device) -> WindowLogits:
    """Logits of every window of `dataset` in evaluation mode."""
    model.eval()
    joined: list[np.ndarray] = []
    branches: list[list[np.ndarray]] = []
    masks: list[np.ndarray] = []
    for batch in make_loader(dataset, None):
        logits, info = forward_batch(model, batch, device)
        joined.append(logits.float().cpu().numpy())
        branches.append([branch.float().cpu().numpy() for branch, _ in info["branch_logits"]])
        if "token_mask" in info:
            masks.append(info["token_mask"].cpu().numpy())
    return WindowLogits(
        np.concatenate(joined),
        [np.concatenate(parts) for parts in zip(*branches, strict=True)],
        np.concatenate(masks) if masks else None,
    )


def log_softmax(logits: Float[np.ndarray, "W C"]) -> Float[np.ndarray, "W C"]:
    """Row-wise log-softmax in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def video_of_window(dataset: UCF101Dataset) -> Int[np.ndarray, " W"]:
    """Row number in `dataset.videos` of each window."""
    return np.asarray(dataset.windows["video"], dtype=np.int64)


def choose_audio_weight(dataset: UCF101Dataset, windows: WindowLogits) -> float:
    """The weight of the sound's log-probabilities with the best video-level likelihood on `dataset`.

    Likelihood rather than accuracy: on a few dozen validation videos accuracy moves in steps too coarse to rank.
    """
    owner = video_of_window(dataset)
    labels = dataset.videos["label"].to_numpy()
    has_audio = dataset.videos["has_audio"].to_numpy()[owner][:, None]
    video, audio = (log_softmax(logits) for logits in windows.branches)

    def loss(weight: float) -> float:
        probabilities = np.exp(log_softmax(video + weight * has_audio * audio))
        return negative_log_likelihood(mean_over_windows(probabilities, owner, len(labels)), labels)

    return min(AUDIO_WEIGHTS, key=loss)


def evaluate(dataset: UCF101Dataset, windows: WindowLogits) -> tuple[dict[Metric, float], pd.DataFrame]:
    """Clip- and video-level metrics of a split, and one row of predictions per video."""
    videos = dataset.videos
    labels = videos["label"].to_numpy()
    owner = video_of_window(dataset)
    probabilities = np.exp(log_softmax(windows.logits))
    per_video = mean_over_windows(probabilities, owner, len(videos))
    has_audio = videos["has_audio"].to_numpy(dtype=bool)
    metrics = {
        Metric.CLIP_TOP1: top_k_share(probabilities, labels[owner], 1),
        Metric.CLIP_TOP5: top_k_share(probabilities, labels[owner], 5),
        **video_metrics(per_video, labels, has_audio if dataset.use_audio else None),
    }
    table = videos[["video_id", "group", "label"]].reset_index(drop=True)
    table["prediction"] = per_video.argmax(axis=1)
    table["has_audio"] = has_audio
    for k in range(per_video.shape[1]):
        table[f"p_{k}"] = per_video[:, k]
    return metrics, table
