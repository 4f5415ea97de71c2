"""Everything a section of the report may look at, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..config import PresetConfig, RunConfig, load_preset, resolve_run
from ..experiments import available, load_catalogue, members
from .accuracy import Estimate, chance_level, estimates
from .tables import Arm, DataFolder, read_arm, read_benchmarks, read_configs, read_data

BASELINE = "EXP-P1V-1-dense-multiscale"


@dataclass(frozen=True)
class Context:
    """The artefacts of one preset and what was estimated from them.

    `arms` are the experiments of the catalogue and ad-hoc runs, `variants` the members of groups that were run.
    `config` speaks for the preset: the baseline's, else that of the first finished run, else the preset's defaults.
    """

    results: Path
    preset_name: str
    preset: PresetConfig
    arms: tuple[Arm, ...]
    variants: tuple[Arm, ...]
    estimates: dict[str, Estimate]
    chance: float | None
    config: RunConfig
    data: DataFolder
    benchmarks: pd.DataFrame

    def arm(self, name: str) -> Arm | None:
        """The experiment or variant called `name`, None if the preset has none."""
        return next((arm for arm in (*self.arms, *self.variants) if arm.name == name), None)

    @property
    def finished(self) -> tuple[Arm, ...]:
        """Experiments with at least one finished seed."""
        return tuple(arm for arm in self.arms if arm.runs)

    @property
    def needs_folder(self) -> bool:
        """Whether the preset's videos are the user's own."""
        return self.preset.data_source == "folder"


def read_context(results: Path, preset_name: str | None = None) -> Context:
    """Read all artefacts under `results/<preset>`; without a name the runs, or the folder's name, say the preset.

    Raises:
        ConfigError: there is no such preset.
        DataError: an artefact is damaged.
    """
    configs = read_configs(results)
    if preset_name is None:
        preset_name = next((config.preset for config in configs.values()), results.name)
    preset = load_preset(preset_name)
    entries = available(preset_name)
    made = {config.experiment for config in configs.values()}
    variants = {
        name: entry
        for group in load_catalogue().groups
        for name, entry in members(group, preset_name).items()
        if name in made
    }
    names = [*entries, *sorted(made - set(entries) - set(variants))]
    arms = tuple(read_arm(name, entries.get(name), configs, len(preset.seeds)) for name in names)
    finished = sorted((arm for arm in arms if arm.runs), key=lambda arm: arm.name != BASELINE)
    config = finished[0].runs[0].config if finished else resolve_run(preset_name)
    return Context(
        results=results,
        preset_name=preset_name,
        preset=preset,
        arms=arms,
        variants=tuple(read_arm(name, entry, configs, len(preset.seeds)) for name, entry in variants.items()),
        estimates=estimates(arms, next((arm for arm in arms if arm.name == BASELINE), None)),
        chance=chance_level(arms),
        config=config,
        data=read_data(config),
        benchmarks=read_benchmarks(results),
    )
