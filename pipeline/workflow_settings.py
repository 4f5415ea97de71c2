"""The settings of one `snakemake` call, checked before the DAG is built, and where its videos come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .artifacts import fingerprint
from .config.loading import Layer, load_preset, resolve_run, validate
from .config.sections import WorkflowConfig
from .data.ieeg_layout import find_recording_files
from .errors import ConfigError, DataError

Entry = tuple[str, int, int]
# Measured tables that make sense together only.
TABLES = (("layer_latency", "devices"), ("model_energy", "model_kernels"))


def prefer_this_python() -> None:
    """Put the Python that runs the workflow first in PATH: jobs call plain `python`, activated or not."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def resolve_workflow(config: Mapping[str, Any]) -> WorkflowConfig:
    """Check Snakemake's config dictionary.

    Raises:
        ConfigError: an unknown key, a wrong value, or a measured table that is not there or lacks its companion, named.
    """
    settings = validate(WorkflowConfig, [Layer("snakemake --config / configs/workflow.yaml", dict(config))])
    for pair in TABLES:
        given = {name: getattr(settings, name) for name in pair if getattr(settings, name)}
        for name, value in given.items():
            if not Path(value).is_file():
                raise ConfigError(f"{name}={value}: no such file (resolved: {Path(value).resolve()})")
            if len(given) < len(pair):
                missing = next(other for other in pair if other not in given)
                raise ConfigError(f"{name}={value}: is read with {missing} only; give --config {missing}=FILE as well")
    return settings


def raw_listing(settings: WorkflowConfig) -> str:
    """A hash over the user's videos or frame folders, so that a new or replaced one is noticed.

    Videos count by name, size and time; the folders of a JPEG tree by name and time. Empty for a preset that
    generates its clips.

    Raises:
        ConfigError: the preset reads videos and `raw_video_root` is missing, or the settings contradict.
        DataError: a folder does not exist, or holds nothing to read.
    """
    source = load_preset(settings.preset).data_source
    if source == "none" and (settings.raw_video_root is not None or settings.from_frames):
        raise ConfigError(
            f"preset {settings.preset} is the cascade's alone and reads no videos; use preset=clips or ucf101"
        )
    if source == "none":
        return ""
    generated = source == "demo"
    if generated and (settings.raw_video_root is not None or settings.from_frames):
        raise ConfigError(
            f"raw_video_root={settings.raw_video_root}, from_frames={settings.from_frames}: preset {settings.preset} "
            "generates its own clips; use preset=clips or preset=ucf101"
        )
    if generated:
        return ""
    frames = Path(resolve_run(settings.preset).data.root) / "frames"
    if settings.from_frames:
        if settings.raw_video_root is not None:
            raise ConfigError(f"from_frames=true and raw_video_root={settings.raw_video_root} contradict; give one")
        return fingerprint(_listed(frames, "from_frames=true", _frame_folders), 16)
    if settings.raw_video_root is None:
        raise ConfigError(
            f"preset {settings.preset} reads your videos: give --config preset={settings.preset} raw_video_root=FOLDER "
            f"(FOLDER/<Class>/v_<Class>_gXX_cYY.avi), or put a JPEG tree at {frames} and give from_frames=true"
        )
    root = Path(settings.raw_video_root)
    return fingerprint(_listed(root, f"raw_video_root={settings.raw_video_root}", _videos), 16)


def recordings_listing(settings: WorkflowConfig) -> str:
    """A hash over the user's recordings by name, size and time; empty if there are none or they are generated.

    Raises:
        ConfigError: the preset needs recordings and none are given, or it generates its own.
        DataError: there are no recordings at `raw_ieeg_root`.
    """
    source = load_preset(settings.preset).data_source
    if settings.raw_ieeg_root is None:
        if source == "none":
            raise ConfigError(
                f"preset {settings.preset} reads your recordings: give --config preset={settings.preset} "
                "raw_ieeg_root=FOLDER"
            )
        return ""
    if source == "demo":
        raise ConfigError(
            f"raw_ieeg_root={settings.raw_ieeg_root}: preset {settings.preset} generates its own recordings; use "
            "preset=swec, bonn or ecog"
        )
    found = find_recording_files(settings.raw_ieeg_root)
    paths = [file.path for files in found.values() for file in files]
    return fingerprint([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths], 16)


def split_lists(settings: WorkflowConfig) -> list[str]:
    """The split files that are the user's own: those that exist where a preset with lists looks for them."""
    run = resolve_run(settings.preset)
    if load_preset(settings.preset).data_source != "folder" or run.data.splits == "by_time":
        return []
    folder = Path(settings.splits_root or f"{run.data.root}/splits")
    names = [folder / f"{name}.txt" for name in ("classInd", "trainlist01", "testlist01")]
    missing = [str(path) for path in names if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: no such file; give --config splits_root=FOLDER of UCF101's three lists")
    return [str(path) for path in names]


def _listed(root: Path, key: str, entries: Callable[[os.DirEntry], Iterator[Entry]]) -> list[Entry]:
    if not root.is_dir():
        raise DataError(f"{key}: no such folder (resolved: {root.resolve()})")
    listing = sorted(entry for folder in os.scandir(root) if folder.is_dir() for entry in entries(folder))
    if not listing:
        raise DataError(f"{key}: holds no <Class>/<video> (resolved: {root.resolve()})")
    return listing


def _videos(folder: os.DirEntry) -> Iterator[Entry]:
    for entry in os.scandir(folder.path):
        if entry.name.lower().endswith(".avi"):
            status = entry.stat()
            yield f"{folder.name}/{entry.name}", status.st_size, status.st_mtime_ns


def _frame_folders(folder: os.DirEntry) -> Iterator[Entry]:
    for entry in os.scandir(folder.path):
        if entry.is_dir():
            yield f"{folder.name}/{entry.name}", 0, entry.stat().st_mtime_ns
