"""Small real AVI files, and a small finished data folder made from them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.config import PreprocessAudioConfig, RunConfig, resolve_run
from pipeline.data.audio import merge_audio, preprocess_shard
from pipeline.data.frames import extract_shard, merge_manifest

RATE = 16000


def encode(
    path: Path,
    n_frames: int = 12,
    *,
    fps: int = 25,
    sound: np.ndarray | None = None,
    title: str = "",
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Write an AVI whose frame k has grey level 20 + 6 k; `sound` is one channel at 16 kHz, stored as PCM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        if title:
            container.metadata["title"] = title
        video = audio = None
        if n_frames:
            video = container.add_stream("mpeg4", rate=fps, options={"g": "12", "bf": "0", "q": "2"})
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.codec_context.codec_tag = "XVID"
            video.bit_rate = 2_000_000
        if sound is not None:
            audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for k in range(n_frames):
            grey = np.full((size[1], size[0], 3), min(250, 20 + 6 * k), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
            for start in range(0, len(samples), 640):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 640], format="s16", layout="mono")
                frame.rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="session")
def write_avi() -> Callable[..., Path]:
    return encode


@pytest.fixture(scope="session")
def noise() -> Callable[[int], np.ndarray]:
    """Sound of a given number of 25 Hz video frames."""
    return lambda n_frames: np.random.default_rng(n_frames).normal(0, 0.1, n_frames * RATE // 25).astype(np.float32)


def write_lists(folder: Path, classes: list[str], train: list[str], test: list[str], end: str = "\n") -> Path:
    """The three official files; entries are `Class/v_Class_g01_c01`."""
    folder.mkdir(parents=True, exist_ok=True)
    label = {name: number for number, name in enumerate(classes, start=1)}
    texts = {
        "classInd.txt": [f"{number} {name}" for name, number in label.items()],
        "trainlist01.txt": [f"{entry}.avi {label.get(entry.split('/')[0], 1)}" for entry in train],
        "testlist01.txt": [f"{entry}.avi" for entry in test],
    }
    for name, lines in texts.items():
        (folder / name).write_bytes("".join(line + end for line in lines).encode())
    return folder


@pytest.fixture(scope="session")
def split_lists() -> Callable[..., Path]:
    return write_lists


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished data folder: 2 classes x 4 groups (g01 is test), 9 to 30 frames, one in four without sound."""
    base = tmp_path_factory.mktemp("ucf101")
    rng = np.random.default_rng(5)
    entries = []
    for index, (name, group) in enumerate((name, group) for name in ("Jump", "Wave") for group in range(1, 5)):
        entry = f"{name}/v_{name}_g{group:02d}_c01"
        n_frames = 9 + 3 * index
        sound = None if index in (2, 7) else rng.normal(0, 0.05 + 0.02 * index, n_frames * 640).astype(np.float32)
        encode(base / "raw" / f"{entry}.avi", n_frames, sound=sound)
        entries.append(entry)
    test = [entry for entry in entries if "_g01_" in entry]
    splits = write_lists(base / "lists", ["Jump", "Wave"], [e for e in entries if e not in test], test, end="\r\n")
    root = base / "root"
    extract_shard(base / "raw", root, 36, (0, 1), splits=splits)
    merge_manifest(root, 1)
    paths = {"raw_video_root": base / "raw", "frames_root": root / "frames", "audio_root": root / "audio"}
    config = PreprocessAudioConfig.model_validate({"data": {key: str(path) for key, path in paths.items()}}).data
    preprocess_shard(config, (0, 1))
    merge_audio(config, 1)
    return root


@pytest.fixture(scope="session")
def make_cfg() -> Callable[..., RunConfig]:
    """A run configuration of preset tiny (short side 36, crop 32) over a data folder, plus dotted overrides."""

    def make(root: Path, preset: str = "tiny", **overrides: Any) -> RunConfig:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        defaults = {"data.root": str(root), "data.windows_per_video": None}
        if dotted.get("data.use_audio"):
            defaults["training.use_audio"] = True
        return resolve_run(preset, None, {**defaults, **dotted})

    return make


@pytest.fixture(scope="session")
def reference(reference_data: Path) -> Path:
    """The real clips and the official lists."""
    return reference_data / "ucf101"
