"""Typed configuration: sections, loading, and the command-line flags every script shares."""

from .loading import ConfigError, load_preset, load_resolved, resolve_run
from .sections import AudioConfig, DataConfig, DemoConfig, HwConfig, ModelConfig, PresetConfig, RunConfig, TrainingConfig

__all__ = [
    "AudioConfig",
    "ConfigError",
    "DataConfig",
    "DemoConfig",
    "HwConfig",
    "ModelConfig",
    "PresetConfig",
    "RunConfig",
    "TrainingConfig",
    "load_preset",
    "load_resolved",
    "resolve_run",
]
