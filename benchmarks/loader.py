"""Packed loader against an honest PIL-from-JPEG loader: `python -m benchmarks.loader --json OUT`.

Both make the same batches (8 frames at 112 px, same frames, crops and mirroring) through a DataLoader without
workers on one thread; the tensors are asserted equal. Warm page cache. With REFERENCE_DATA set the real clips
are measured too.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from pipeline.config import resolve_run
from pipeline.data.frames import extract_shard, merge_manifest, pack_tree
from pipeline.data.jpeg_tree import encode_jpeg, frame_path
from pipeline.data.packed import packed_size
from pipeline.data.ucf101 import UCF101Dataset, make_loader

CLIPS = 96
REPEATS = 5
BAR = 6.0


class JpegDataset(Dataset[dict[str, Any]]):
    """The peer: opens, resizes, crops and normalises JPEG frames with PIL, sample by sample."""

    def __init__(self, packed: UCF101Dataset) -> None:
        self.packed = packed
        self.root = Path(packed.cfg.data.root) / "frames"

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> dict[str, Any]:
        data, plan = self.packed.cfg.data, self.packed.plan(index)
        row = self.packed.videos.iloc[plan.video]
        folder = self.root / row["class"] / row["video_id"]
        height, width = packed_size(row["height"], row["width"], data.short_side)
        frames = []
        for frame_id in plan.frame_ids:
            with Image.open(frame_path(folder, frame_id)) as image:
                small = image.resize((width, height), Image.Resampling.BILINEAR)
            box = (plan.left, plan.top, plan.left + data.image_size, plan.top + data.image_size)
            frames.append(np.asarray(small.crop(box)))
        pixels = np.stack(frames)
        if plan.flip:
            pixels = pixels[:, :, ::-1]
        video = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(127.5).sub_(1.0)
        return {"video": video, "label": int(row["label"]), "video_id": row["video_id"]}


def write_synthetic_tree(root: Path, videos: int = 8, n_frames: int = 60) -> None:
    """320 x 240 JPEG frames: a moving low-frequency scene with sensor noise."""
    rng = np.random.default_rng(0)
    for video in range(videos):
        folder = root / "frames" / f"Class{video % 2}" / f"v_Class{video % 2}_g{video + 1:02d}_c01"
        folder.mkdir(parents=True)
        coarse = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        scene = np.asarray(Image.fromarray(coarse).resize((400, 240), Image.Resampling.BICUBIC)).astype(np.float32)
        for frame_id in range(n_frames):
            noisy = scene[:, frame_id : frame_id + 320] + rng.normal(0.0, 3.0, (240, 320, 3))
            frame_path(folder, frame_id).write_bytes(encode_jpeg(np.clip(noisy, 0, 255).astype(np.uint8)))


def dataset_of(root: Path) -> UCF101Dataset:
    """The training split, cut by time, of a data folder: random crops and mirroring as in training."""
    overrides = {"data.root": str(root), "data.num_frames": 8, "data.windows_per_video": None, "data.batch_size": 16}
    return UCF101Dataset(resolve_run("clips", None, overrides), "train")


def measure(name: str, dataset: UCF101Dataset) -> list[Figure]:
    """Check that both loaders give the same tensors and time them in turn."""
    order = np.resize(dataset.epoch_indices(0), CLIPS).tolist()
    packed = partial(_loader, dataset, make_loader(dataset, 0).collate_fn, order)
    jpeg = partial(_loader, JpegDataset(dataset), None, order)
    worst = 0.0
    for ours, theirs in zip(packed(), jpeg(), strict=True):
        assert ours["video_id"] == theirs["video_id"]
        worst = max(worst, float((ours["video"] - theirs["video"]).abs().max()))
    print(f"{name}: largest difference of any value {worst:g}")
    assert worst == 0.0, "the loaders disagree, so their speeds cannot be compared"
    seconds = interleaved_median_s({"packed": lambda: list(packed()), "jpeg": lambda: list(jpeg())}, REPEATS)
    print(
        f"{name}: packed {CLIPS / seconds['packed']:.0f} clips/s, PIL from JPEG {CLIPS / seconds['jpeg']:.0f} clips/s"
    )
    return [Figure(f"packed over PIL-from-JPEG, {name}", seconds["jpeg"] / seconds["packed"], "x", BAR, "higher")]


def _loader(dataset: Dataset[dict[str, Any]], collate: Any, order: list[int]) -> DataLoader[dict[str, Any]]:
    batches = [order[start : start + 16] for start in range(0, len(order), 16)]
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate)


def main() -> None:
    """Measure on generated frames and, where they are, on real clips."""
    arguments = parse_json_flag(__doc__ or "")
    torch.set_num_threads(1)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "synthetic"
        write_synthetic_tree(root)
        pack_tree(root, 128, (0, 1))
        merge_manifest(root, 1)
        figures += measure("synthetic", dataset_of(root))
        if "REFERENCE_DATA" in os.environ:
            root = Path(folder) / "real"
            extract_shard(Path(os.environ["REFERENCE_DATA"]) / "ucf101" / "UCF-101", root, 128, (0, 1))
            merge_manifest(root, 1)
            figures += measure("real clips", dataset_of(root))
        else:
            print("REFERENCE_DATA is not set: the real clips are not measured")
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
