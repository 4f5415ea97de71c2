"""A small data folder, written directly: two classes told apart by colour, with sound in most clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import write_npy, write_parquet, write_text
from pipeline.config import RunConfig, resolve_run

FRAMES, SIDE, N_MELS = 12, 20, 8
GROUPS, CLIPS = 5, 2


def write_tree(root: Path) -> None:
    """Manifest, packed frames, audio features and split lists of 20 clips."""
    rows = []
    for label, name in enumerate(("Blue", "Red")):
        for group in range(1, GROUPS + 1):
            for clip in range(1, CLIPS + 1):
                rows.append(write_clip(root, label, name, group, clip))
    manifest = pd.DataFrame(rows)
    write_parquet(root / "manifest.parquet", manifest)
    audio = manifest[["video_id", "n_frames"]].assign(message="", duration_s=FRAMES / 25)
    audio["status"] = np.where(manifest["has_audio"], "ok", "no_audio")
    write_parquet(root / "audio.parquet", audio)
    write_text(root / "splits/classInd.txt", "1 Blue\n2 Red\n")
    lines = {name: [] for name in ("trainlist01", "testlist01")}
    for row in rows:
        split = "testlist01" if row["group"] <= 2 else "trainlist01"
        label = "" if split == "testlist01" else f" {row['label'] + 1}"
        lines[split].append(f"{row['class']}/{row['video_id']}.avi{label}\n")
    for name, text in lines.items():
        write_text(root / f"splits/{name}.txt", "".join(text))


def write_clip(root: Path, label: int, name: str, group: int, clip: int) -> dict:
    """One clip's arrays; its manifest row."""
    rng = np.random.default_rng([label, group, clip])
    video_id = f"v_{name}_g{group:02d}_c{clip:02d}"
    frames = rng.integers(0, 60, (FRAMES, SIDE, SIDE + 4, 3), dtype=np.uint8)
    frames[..., 2 if label == 0 else 0] += np.uint8(120)
    has_audio = clip == 1
    features = (
        rng.random((FRAMES, N_MELS), dtype=np.float32) * 0.5 + 0.5 * label if has_audio else np.zeros((FRAMES, 8))
    )
    write_npy(root / f"packed/{video_id}.npy", frames)
    write_npy(root / f"audio/{video_id}.npy", features.astype(np.float32))
    return {
        "video_id": video_id,
        "class": name,
        "label": label,
        "group": group,
        "n_frames": FRAMES,
        "fps": 25.0,
        "width": SIDE + 4,
        "height": SIDE,
        "has_audio": has_audio,
        "status": "ok",
        "message": "",
        "sha256": "",
    }


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, made once."""
    root = tmp_path_factory.mktemp("data")
    write_tree(root)
    return root


@pytest.fixture
def small_run(data_root: Path):
    """A function that resolves a small run on that folder with the given dotted keys."""

    def resolve(assignments: dict | None = None, **identity: object) -> RunConfig:
        settings = {
            "data.root": str(data_root),
            "data.val_groups": 1,
            "data.short_side": SIDE,
            "data.image_size": 16,
            "data.clip_lens": [4, 8],
            "data.num_frames": 4,
            "data.batch_size": 4,
            "data.windows_per_video": 1,
            "data.input": "raw",
            "audio.n_mels": N_MELS,
            "model.patch_size": 8,
            "model.embed_dim": 16,
            "model.depth": 1,
            "model.num_heads": 2,
            "training.num_epochs": 4,
            "training.eval_every_epochs": 2,
            "training.warmup_steps": 1,
            "training.device": "cpu",
        }
        return resolve_run("tiny", None, None, settings | (assignments or {}), experiment="EXP", **identity)

    return resolve
