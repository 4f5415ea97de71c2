"""The settings of one `snakemake` call, checked before the DAG is built, and where its videos come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config.loading import Layer, fingerprint, load_preset, resolve_run, validate
from .config.sections import PresetConfig, RunConfig, WorkflowConfig
from .errors import ConfigError, DataError


def resolve_workflow(config: Mapping[str, Any]) -> WorkflowConfig:
    """Check Snakemake's config dictionary.

    Raises:
        ConfigError: an unknown key or a wrong value, named.
    """
    return validate(WorkflowConfig, [Layer("snakemake --config / configs/workflow.yaml", dict(config))])


def starts_from_frames(settings: WorkflowConfig, preset: PresetConfig, run: RunConfig) -> bool:
    """Whether a preset that reads the user's videos has only their JPEG tree to start from."""
    return preset.data_source == "folder" and settings.raw_video_root is None and frames_root(run).is_dir()


def frames_root(run: RunConfig) -> Path:
    """The JPEG tree of a run's data folder."""
    return Path(run.data.frames_root or f"{run.data.root}/frames")


def raw_listing(settings: WorkflowConfig) -> str:
    """A hash over names, sizes and times of the user's videos, so that a new or replaced file is noticed.

    Empty for a preset that generates its clips or starts from a JPEG tree.

    Raises:
        ConfigError: the preset reads videos and `raw_video_root` is missing.
        DataError: the folder does not exist or holds no `Class/*.avi`.
    """
    preset = load_preset(settings.preset)
    run = resolve_run(settings.preset)
    if preset.data_source == "demo":
        if settings.raw_video_root is not None:
            raise ConfigError(
                f"raw_video_root={settings.raw_video_root}: preset {settings.preset} generates its own clips; "
                "use preset=clips or preset=ucf101"
            )
        return ""
    if starts_from_frames(settings, preset, run):
        return ""
    if settings.raw_video_root is None:
        raise ConfigError(
            f"preset {settings.preset} reads your videos: give --config preset={settings.preset} raw_video_root=FOLDER "
            f"(FOLDER/<Class>/v_<Class>_gXX_cYY.avi), or put a JPEG tree at {frames_root(run)}"
        )
    root = Path(settings.raw_video_root)
    if not root.is_dir():
        raise DataError(f"raw_video_root={root}: no such folder (resolved: {root.resolve()})")
    listing = sorted(_videos(root))
    if not listing:
        raise DataError(f"raw_video_root={root}: holds no <Class>/*.avi (resolved: {root.resolve()})")
    return fingerprint(listing, 16)


def _videos(root: Path) -> list[tuple[str, int, int]]:
    found = []
    for folder in (entry for entry in os.scandir(root) if entry.is_dir()):
        for entry in os.scandir(folder.path):
            if entry.name.lower().endswith(".avi"):
                status = entry.stat()
                found.append((f"{folder.name}/{entry.name}", status.st_size, status.st_mtime_ns))
    return found
