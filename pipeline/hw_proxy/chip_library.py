"""The chip library `configs/gpu_data.yaml`: chip types, named libraries of them, and the link between chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from ..config.chips import TEXTS, ChipType
from ..config.loading import CONFIGS, load_yaml
from ..errors import ConfigError, suggestion

LIBRARY_FILE = CONFIGS / "gpu_data.yaml"
STANDARD_LINK = {"gb_s": 256.0, "hop_ms": 0.0005, "pj_per_bit": 1.0}


@dataclass(frozen=True)
class Link:
    """What one hop between neighbouring chips costs: bandwidth in GB/s, latency in ms, energy in pJ per bit."""

    gb_s: float
    hop_ms: float
    pj_per_bit: float

    def __post_init__(self) -> None:
        for name, zero_allowed in (("gb_s", False), ("hop_ms", True), ("pj_per_bit", True)):
            value = getattr(self, name)
            if not value >= 0.0 or (value == 0.0 and not zero_allowed):
                raise ConfigError(f"link: {name}={value:g}; it must be {'at least 0' if zero_allowed else 'positive'}")


@dataclass(frozen=True)
class ChipLibrary:
    """All chip types by name, the named selections of them, and the link."""

    chips: dict[str, ChipType]
    libraries: dict[str, list[str]]
    link: Link

    def select(self, names: str | Sequence[str]) -> list[ChipType]:
        """The chips of a library, of one chip's name, or of a list of names, in that order.

        Raises:
            ConfigError: an unknown name; the closest known one is suggested.
        """
        if isinstance(names, str):
            names = self.libraries.get(names, [names])
        for name in names:
            if name not in self.chips:
                known = [*self.chips, *self.libraries]
                raise ConfigError(f"chip '{name}' is not in the chip library{suggestion(name, known)}")
        return [self.chips[name] for name in names]


def load_chip_library(path: Path | str = LIBRARY_FILE) -> ChipLibrary:
    """Read and check a chip library.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown or missing, a value impossible, or a library
            names a chip that is not there; the message names the file, the chip and the value.
    """
    values = load_yaml(path)
    try:
        _refuse_unknown("", values, ("link", "libraries", "chip_types"))
        chips: dict[str, ChipType] = {}
        for entry in _list_of(values, "chip_types"):
            chip = _chip(entry)
            if chip.name in chips:
                raise ConfigError(f"chip {chip.name}: given twice")
            chips[chip.name] = chip
        library = ChipLibrary(chips, values.get("libraries") or {}, _link(values.get("link", STANDARD_LINK)))
        for name in library.libraries:
            library.select(name)
        return library
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _link(values: Any) -> Link:
    names = [field.name for field in fields(Link)]
    _refuse_unknown("link", values, names)
    missing = [name for name in names if name not in values]
    if missing:
        raise ConfigError(f"link: lacks {', '.join(missing)}")
    return Link(**{name: _number("link", name, value) for name, value in values.items()})


def _list_of(values: dict[str, Any], key: str) -> list[Any]:
    entries = values.get(key)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{key} must be a list with at least one chip")
    return entries


def _chip(entry: Any) -> ChipType:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ConfigError(f"chip_types: {entry!r} is not a chip; give it a name and its figures")
    known = fields(ChipType)
    _refuse_unknown(f"chip {entry['name']}", entry, [field.name for field in known])
    missing = [field.name for field in known if field.default is MISSING and field.name not in entry]
    if missing:
        raise ConfigError(f"chip {entry['name']}: lacks {', '.join(missing)}")
    numbers = {key: _number(entry["name"], key, value) for key, value in entry.items() if key not in TEXTS}
    return ChipType(**{**entry, **numbers})


def _number(chip: str, key: str, value: Any) -> float:
    """YAML 1.1 takes the spec's own `1.0e14` for text, hence the conversion."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"chip {chip}: {key}={value!r} is not a number") from None


def _refuse_unknown(where: str, values: Any, known: Sequence[str]) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{where or 'the file'}: holds a {type(values).__name__}, expected keys and values")
    for key in values:
        if key not in known:
            prefix = f"{where}: " if where else ""
            raise ConfigError(f"{prefix}unknown key '{key}'{suggestion(str(key), known)}")
