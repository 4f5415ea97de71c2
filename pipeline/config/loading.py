"""Loading, merging and validating configuration layers into a `RunConfig`.

Order, weakest first: schema defaults, `configs/base.yaml`, preset, experiment file, the catalogue's
overrides, `--set`. An error names the layer that brought the key, the key, its value and the mend.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import ConfigError, suggestion
from .sections import PresetConfig, RunConfig

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT_ROOT / "configs"
DOCUMENTATION_KEYS = ("title", "purpose")

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Layer:
    """One source of settings: where it came from, for error messages, and its nested values."""

    source: str
    values: Mapping[str, Any]


def load_yaml(path: Path | str) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something other than a mapping.
    """
    path = Path(path)
    try:
        values = _parse_yaml(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file (resolved: {path.resolve()}){_nearby(path)}") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder, not a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, expected keys and values")
    return copy.deepcopy(values)


@cache
def _parse_yaml(text: str) -> Any:
    """Parsing is slow and planning a workflow reads the same files dozens of times."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _nearby(path: Path) -> str:
    names = [other.name for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    return suggestion(path.name, names)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested merge: mappings are merged key by key, anything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def dotted_to_nested(assignments: Mapping[str, Any]) -> dict[str, Any]:
    """`{"data.num_frames": 4}` becomes `{"data": {"num_frames": 4}}`."""
    nested: dict[str, Any] = {}
    for key, value in assignments.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        nested = merge(nested, value)
    return nested


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse one `--set a.b=value`; the value is YAML, so `8`, `true`, `[8, 16]` and `null` have their types.

    An unquoted text is taken as it stands, so a path may hold ` #` or `: `.

    Raises:
        ConfigError: there is no `=`, no key, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key or "" in key.split("."):
        raise ConfigError(f"--set {text}: expected section.key=value, e.g. --set training.lr=0.001")
    try:
        parsed = yaml.safe_load(value)
        quoted = value.lstrip()[:1] in ("'", '"', "{", "[")
        return key, value if isinstance(parsed, str | dict) and not quoted else parsed
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {error}") from error


def load_preset(name: str) -> PresetConfig:
    """Read and check `configs/presets/<name>.yaml`.

    Raises:
        ConfigError: there is no such preset, or a key or value in it is wrong.
    """
    path = CONFIGS / "presets" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.yaml"))
        raise ConfigError(f"preset={name}: no such preset{suggestion(name, known)} (known: {', '.join(known)})")
    return validate(PresetConfig, [Layer(str(path.relative_to(PROJECT_ROOT)), load_yaml(path))])


def resolve_run(
    preset_name: str,
    config_path: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    assignments: Mapping[str, Any] | None = None,
    **identity: Any,
) -> RunConfig:
    """Merge all layers into one validated run configuration.

    Args:
        preset_name: name of a file in `configs/presets`.
        config_path: the experiment's file; its title and purpose are documentation and dropped.
        overrides: dotted keys of the catalogue entry.
        assignments: dotted keys given with `--set`.
        identity: `experiment`, `seed`, `init_from`.

    Raises:
        ConfigError: any layer is wrong; the message names it.
    """
    layers = [
        Layer("configs/base.yaml", load_yaml(CONFIGS / "base.yaml")),
        Layer(f"configs/presets/{preset_name}.yaml", load_preset(preset_name).run),
    ]
    if config_path is not None:
        values = {key: value for key, value in load_yaml(config_path).items() if key not in DOCUMENTATION_KEYS}
        layers.append(Layer(str(config_path), values))
    layers.append(Layer("configs/experiments.yaml (overrides)", dotted_to_nested(overrides or {})))
    layers.append(Layer("the run's identity", {"preset": preset_name, **identity}))
    layers.append(Layer("--set", dotted_to_nested(assignments or {})))
    return validate(RunConfig, [_without_legacy_keys(layer) for layer in layers])


def _without_legacy_keys(layer: Layer) -> Layer:
    """Spec §2.1: `clip_len: 16` means `clip_lens: [16]`, and num_frames follows it unless given beside it."""
    data = layer.values.get("data")
    if not isinstance(data, Mapping) or "clip_len" not in data:
        return layer
    if "clip_lens" in data:
        raise ConfigError(f"{layer.source}: data.clip_len (old) and data.clip_lens are both given; keep data.clip_lens")
    kept = {key: value for key, value in data.items() if key != "clip_len"}
    clip_len = data["clip_len"]
    return Layer(layer.source, {**layer.values, "data": {"num_frames": clip_len, **kept, "clip_lens": [clip_len]}})


def is_resolved(path: Path | str) -> bool:
    """Whether a file is a run folder's `config.yaml` rather than an experiment file: it knows its experiment."""
    return "experiment" in load_yaml(path)


def load_resolved(path: Path | str) -> RunConfig:
    """Read a run folder's `config.yaml`, written by rule `resolve_config`."""
    return validate(RunConfig, [Layer(str(path), load_yaml(path))])


def validate(model: type[Model], layers: list[Layer]) -> Model:
    """Merge `layers` and build `model`, turning every complaint into one readable `ConfigError`."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer.values)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        problems = [_explain(model, dict(problem), layers) for problem in error.errors()]
        raise ConfigError("\n".join(problems)) from error


def _explain(model: type[BaseModel], problem: dict[str, Any], layers: list[Layer]) -> str:
    location = [part for part in problem["loc"] if isinstance(part, str | int)]
    key = ".".join(map(str, location))
    source = _source_of(location, layers)
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(model, location[:-1])
        known = f" (known keys: {', '.join(sorted(fields))})" if fields else ""
        return f"{source}: unknown key '{key}'{suggestion(str(location[-1]), fields) or known}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{source}: {message}" if key in ("", "data", "model") else f"{source}: {key}: {message}"
    if problem["type"] == "missing":
        return f"{source}: the key '{key}' is missing"
    return f"{source}: {key}={problem['input']!r}: {message[0].lower()}{message[1:]}"


def _source_of(location: list[str | int], layers: list[Layer]) -> str:
    """The strongest layer that brought the key, or the strongest that said anything about its section."""
    for depth in range(len(location), 0, -1):
        for layer in reversed(layers):
            value: Any = layer.values
            for part in location[:depth]:
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                return layer.source
    files = [layer.source for layer in layers if layer.values and layer.source.endswith(".yaml")]
    return files[-1] if files else layers[-1].source


def _fields_at(model: type[BaseModel], location: list[str | int]) -> list[str]:
    current: Any = model
    for part in location:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        current = field.annotation if field is not None else None
    return list(current.model_fields) if hasattr(current, "model_fields") else []
