"""The catalogue of experiments (`configs/experiments.yaml`): ID, phase, purpose, script, config, overrides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from .artifacts import fingerprint
from .config.cascade import CascadeConfig
from .config.cascade_loading import resolve_cascade
from .config.loading import (
    CONFIGS,
    PROJECT_ROOT,
    Layer,
    load_preset,
    load_yaml,
    resolve_run,
    validate,
)
from .config.sections import RunConfig, Section
from .errors import ConfigError, suggestion

# Between an experiment and a variant of it, in the name of a group's member.
VARIANT_MARK = "__"

TRAINING_SCRIPTS = ("run_ast2_ucf101", "run_version_c")


class Experiment(Section):
    """One catalogue entry; `title` and `purpose` default to those of its config file."""

    phase: str
    script: str
    config: str
    title: str = ""
    purpose: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    init_from: str | None = None
    needs: Literal["any", "demo"] = "any"
    variant: Literal["full", "background"] = "full"

    @property
    def is_cascade(self) -> bool:
        """Whether it reads recordings (`CascadeConfig`) instead of videos (`RunConfig`)."""
        return self.phase == "cascade"


class Variant(Section):
    """What one member of a group changes; `sized` where the preset must say its sizes (`variants` there)."""

    title: str
    config: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    from_scratch: bool = False
    sized: bool = False


class Group(Section):
    """Variants of one experiment that are compared: members `<base>__<variant>`, made by the group's name alone.

    `beside` are experiments of the catalogue that the comparison needs.
    """

    title: str
    purpose: str
    base: str
    beside: list[str] = Field(default_factory=list)
    overrides: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, Variant]


class Catalogue(Section):
    """All experiments, in the order of the file, the phases that hold them, and groups of their variants."""

    phases: dict[str, str]
    experiments: dict[str, Experiment]
    groups: dict[str, Group] = Field(default_factory=dict)


@cache
def load_catalogue() -> Catalogue:
    """Read and check the catalogue.

    Raises:
        ConfigError: an unknown key, phase, config file or `init_from`.
    """
    path = CONFIGS / "experiments.yaml"
    catalogue = validate(Catalogue, [Layer("configs/experiments.yaml", load_yaml(path))])
    experiments = {}
    for name, entry in catalogue.experiments.items():
        if entry.phase not in catalogue.phases:
            raise ConfigError(
                f"configs/experiments.yaml: {name}: unknown phase '{entry.phase}'"
                f"{suggestion(entry.phase, catalogue.phases)}"
            )
        if entry.init_from is not None and entry.init_from not in catalogue.experiments:
            raise ConfigError(
                f"configs/experiments.yaml: {name}: init_from '{entry.init_from}' is not in the catalogue"
                f"{suggestion(entry.init_from, catalogue.experiments)}"
            )
        documentation = load_yaml(PROJECT_ROOT / entry.config)
        defaults = {key: entry.model_dump()[key] or documentation.get(key, "") for key in ("title", "purpose")}
        experiments[name] = entry.model_copy(update=defaults)
    for name, group in catalogue.groups.items():
        for needed in (group.base, *group.beside):
            if needed not in experiments:
                raise ConfigError(
                    f"configs/experiments.yaml: {name}: '{needed}' is not in the catalogue"
                    f"{suggestion(needed, experiments)}"
                )
    return catalogue.model_copy(update={"experiments": experiments})


def find_experiment(name: str) -> Experiment:
    """The entry called `name`, of the catalogue or a member of one of its groups.

    Raises:
        ConfigError: there is none; the message suggests the closest.
    """
    experiments = load_catalogue().experiments | {
        member: entry for group in load_catalogue().groups for member, entry in _members(group).items()
    }
    if name not in experiments:
        raise ConfigError(f"--experiment {name}: not in configs/experiments.yaml{suggestion(name, experiments)}")
    return experiments[name]


def available(preset_name: str, *, with_sound: bool = True) -> dict[str, Experiment]:
    """The experiments that train a network on videos and can be made under a preset.

    Those that need a generated world need a demo preset, and without sound the audio-video ones drop out.
    """
    source = load_preset(preset_name).data_source
    return {
        name: entry
        for name, entry in load_catalogue().experiments.items()
        if entry.script in TRAINING_SCRIPTS
        and (source == "demo" or (source == "folder" and entry.needs == "any"))
        and (with_sound or not resolve_experiment(name, preset_name, 0).data.use_audio)
    }


def members(group: str, preset_name: str, *, with_sound: bool = True) -> dict[str, Experiment]:
    """The members of a group that can be made under a preset: not those whose sizes it does not say."""
    known = load_catalogue().groups[group]
    if known.base not in available(preset_name, with_sound=with_sound):
        return {}
    sizes = load_preset(preset_name).variants
    return {
        name: entry
        for name, entry in _members(group).items()
        if not known.variants[variant_of(name)].sized or variant_of(name) in sizes
    }


def variant_of(name: str) -> str:
    """The variant of a group's member; empty for an experiment of the catalogue."""
    return name.partition(VARIANT_MARK)[2]


@cache
def _members(group: str) -> dict[str, Experiment]:
    catalogue = load_catalogue()
    known = catalogue.groups[group]
    base = catalogue.experiments[known.base]
    return {
        f"{known.base}{VARIANT_MARK}{variant}": base.model_copy(
            update={
                "title": change.title,
                "purpose": known.purpose,
                "config": change.config or base.config,
                "overrides": base.overrides | known.overrides | change.overrides,
                "init_from": None if change.from_scratch else base.init_from,
            }
        )
        for variant, change in known.variants.items()
    }


def made_by(script: str) -> list[str]:
    """The experiments that a script makes."""
    return [name for name, entry in load_catalogue().experiments.items() if entry.script == script]


def data_root(preset_name: str, variant: str = "full") -> str:
    """The data folder of a preset; variant `background` is the same generated world without its target."""
    root = resolve_run(preset_name).data.root
    return root if variant == "full" else f"{root}_{variant}"


def resolve_experiment(
    name: str, preset_name: str, seed: int, assignments: Mapping[str, Any] | None = None
) -> RunConfig:
    """The validated configuration of one catalogue entry under a preset."""
    entry = find_experiment(name)
    if entry.is_cascade:
        raise ConfigError(f"--experiment {name}: belongs to the cascade; its script is {entry.script}")
    overrides = entry.overrides | load_preset(preset_name).variants.get(variant_of(name), {})
    if entry.variant != "full":
        overrides["data.root"] = data_root(preset_name, entry.variant)
    return resolve_run(
        preset_name,
        PROJECT_ROOT / entry.config,
        overrides,
        assignments,
        experiment=name,
        seed=seed,
        init_from=entry.init_from,
    )


def available_cascade(preset_name: str, *, has_recordings: bool = False) -> dict[str, Experiment]:
    """The cascade's experiments: on generated recordings of a demo preset, or on the user's own."""
    if load_preset(preset_name).data_source != "demo" and not has_recordings:
        return {}
    return {name: entry for name, entry in load_catalogue().experiments.items() if entry.is_cascade}


def cascade_members(preset_name: str, *, has_recordings: bool = False) -> dict[str, dict[str, Experiment]]:
    """The groups of the cascade's experiments that can be made under a preset, each with its members."""
    made = available_cascade(preset_name, has_recordings=has_recordings)
    return {name: _members(name) for name, group in load_catalogue().groups.items() if group.base in made}


def resolve_cascade_experiment(
    name: str, preset_name: str, seed: int, assignments: Mapping[str, Any] | None = None
) -> CascadeConfig:
    """The validated configuration of one of the cascade's entries under a preset."""
    entry = find_experiment(name)
    if not entry.is_cascade:
        raise ConfigError(f"--experiment {name}: is of {entry.phase}, not of the cascade; its script is {entry.script}")
    path = PROJECT_ROOT / entry.config
    return resolve_cascade(preset_name, path, entry.overrides, assignments, experiment=name, seed=seed)


def name_of(config_path: Path | str, assignments: Mapping[str, Any]) -> str:
    """The experiment a bare `--cfg` stands for.

    The catalogue entry with that config and no overrides, unless `--set` changes something;
    else `adhoc/<stem>-<hash8>` of the file's content and the assignments.
    """
    path = Path(config_path).resolve()
    if not assignments:
        for name, entry in load_catalogue().experiments.items():
            if (PROJECT_ROOT / entry.config).resolve() == path and not entry.overrides:
                return name
    return f"adhoc/{path.stem}-{fingerprint([load_yaml(path), dict(assignments)])}"
