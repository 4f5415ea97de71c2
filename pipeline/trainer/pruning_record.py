"""What a pruned run keeps for pictures: which tokens of a few test windows stayed, and how they were scored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from ..artifacts import write_npy, write_parquet
from ..data.ucf101 import UCF101Dataset
from ..models.video_audio_ast import VideoAudioAST
from ..models.video_vit import VideoViT
from .evaluation import forward_batch

MAX_CLASSES = 12


@torch.no_grad()
def write_pruning_record(
    network: VideoViT | VideoAudioAST, dataset: UCF101Dataset, folder: Path, device: torch.device
) -> None:
    """Write the record of one window of each class: that in the middle of the class's first video by name.

    `windows.parquet` has a row per window: video_id, label, frame_ids (0-based), top, left (of the crop, pixels of the
    packed frame). `kept.npy` [E, T, N_v] and `scores.npy` [E, T, N_v] tell which picture tokens stayed and what
    ranked them at the last prune layer, `entropy.npy` [E, N_v] the entropy of each place over all frames (nat; NaN
    where the rule has none).
    """
    chosen = _windows(dataset)
    batch = torch.utils.data.default_collate([dataset[index] for index in chosen])
    _, info = forward_batch(network.eval(), batch, device)
    patches = (dataset.cfg.data.image_size // dataset.cfg.model.patch_size) ** 2
    for name, value in (
        ("kept", info["token_mask"]),
        ("scores", info["token_scores"][-1]),
        ("entropy", info["token_entropy"]),
    ):
        write_npy(folder / f"{name}.npy", value[..., :patches].cpu().numpy())
    rows = []
    for index in chosen:
        plan = dataset.plan(index)
        video = dataset.videos.iloc[plan.video]
        rows.append((video["video_id"], int(video["label"]), list(map(int, plan.frame_ids)), plan.top, plan.left))
    write_parquet(
        folder / "windows.parquet", pd.DataFrame(rows, columns=["video_id", "label", "frame_ids", "top", "left"])
    )


def _windows(dataset: UCF101Dataset) -> list[int]:
    """The middle window of the first video by name of each class."""
    videos = dataset.videos.reset_index(drop=True)
    first = videos.sort_values(["label", "video_id"]).groupby("label").head(1).index[:MAX_CLASSES]
    owner = pd.Series(dataset.windows["video"])
    return [int(mine[len(mine) // 2]) for mine in (owner.index[owner == video] for video in first)]
