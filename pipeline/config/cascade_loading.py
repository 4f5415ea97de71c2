"""Merging and checking the configuration of a cascade experiment; order and messages as for any run.

Order, weakest first: schema defaults, the preset's `cascade:`, the experiment file, the catalogue's overrides, `--set`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cascade import CascadeConfig
from .loading import DOCUMENTATION_KEYS, Layer, dotted_to_nested, load_preset, load_yaml, validate


def resolve_cascade(
    preset_name: str,
    config_path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Mapping[str, Any] | None = None,
    **identity: Any,
) -> CascadeConfig:
    """Merge all layers into one validated cascade configuration.

    Args:
        preset_name: name of a file in `configs/presets`.
        config_path: the experiment's file; its title and purpose are documentation and dropped.
        overrides: dotted keys of the catalogue entry.
        assignments: dotted keys given with `--set`.
        identity: `experiment`, `seed`.

    Raises:
        ConfigError: any layer is wrong; the message names it.
    """
    layers = [
        Layer(f"configs/presets/{preset_name}.yaml", {"preset": preset_name, **load_preset(preset_name).cascade}),
    ]
    if config_path is not None:
        values = {key: value for key, value in load_yaml(config_path).items() if key not in DOCUMENTATION_KEYS}
        layers.append(Layer(str(config_path), values))
    layers.append(Layer("configs/experiments.yaml (overrides)", dotted_to_nested(overrides or {})))
    layers.append(Layer("the run's identity", dict(identity)))
    layers.append(Layer("--set", dotted_to_nested(assignments or {})))
    return validate(CascadeConfig, layers)


def is_cascade(path: Path | str) -> bool:
    """Whether a run folder's `config.yaml` is one of the cascade's: only those have a decision to make."""
    return "decision" in load_yaml(path)


def load_resolved_cascade(path: Path | str) -> CascadeConfig:
    """Read a run folder's `config.yaml` of a cascade experiment.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    return validate(CascadeConfig, [Layer(str(path), load_yaml(path))])
