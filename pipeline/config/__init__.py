"""Typed configuration: the sections and how they are loaded, merged and checked."""

from .loading import ConfigError, load_preset, load_resolved, resolve_run
from .sections import (
    AudioConfig,
    DataConfig,
    DemoConfig,
    HwConfig,
    ModelConfig,
    PreprocessAudioConfig,
    PresetConfig,
    RunConfig,
    TrainingConfig,
)

__all__ = [
    "AudioConfig",
    "ConfigError",
    "DataConfig",
    "DemoConfig",
    "HwConfig",
    "ModelConfig",
    "PreprocessAudioConfig",
    "PresetConfig",
    "RunConfig",
    "TrainingConfig",
    "load_preset",
    "load_resolved",
    "resolve_run",
]
