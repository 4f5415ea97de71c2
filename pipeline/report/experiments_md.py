"""The commands that make each experiment, and `EXPERIMENTS_VERSION_C.md`, which lists them (spec §15)."""

from __future__ import annotations

from ..experiments import VARIANT_MARK, Catalogue, Experiment, Group

HEADER = """\
# Experiments of Version-C

Written by `python -m scripts.gen_experiment_cmds` from `configs/experiments.yaml`; edit that file, not this one.

A command below makes one seed under preset `demo`; add `--preset NAME` and `--seed K` for others. It needs the data
folder of the preset. The Snakemake target makes the data, the experiment it starts from, and every seed of the preset:
add `--config preset=NAME` for another preset.
"""


def script_command(name: str, entry: Experiment, preset: str | None = None) -> str:
    """The line that runs one experiment by hand.

    The config file alone names the experiment only where the catalogue adds nothing to it.
    """
    adds_nothing = not entry.overrides and entry.init_from is None and entry.variant == "full"
    what = f"--cfg {entry.config}" if adds_nothing else f"--experiment {name}"
    return f"python -m scripts.{entry.script} {what}" + (f" --preset {preset}" if preset else "")


def snakemake_command(target: str, preset: str | None = None, needs_folder: bool = False) -> str:
    """The line that makes a target (empty: everything); `needs_folder` where the videos are the user's own."""
    settings = ([f"preset={preset}"] if preset else []) + (["raw_video_root=FOLDER"] if needs_folder else [])
    # Targets stand before --config, which takes every word that follows it.
    return " ".join(["snakemake --cores all", *target.split(), *(["--config", *settings] if settings else [])])


def render(catalogue: Catalogue) -> str:
    """The whole of `EXPERIMENTS_VERSION_C.md`: phases, and for each experiment its purpose, config and commands."""
    parts = [HEADER]
    for phase, title in catalogue.phases.items():
        members = {name: entry for name, entry in catalogue.experiments.items() if entry.phase == phase}
        parts.append(f"## {title}\n\nAll of it: `{snakemake_command(phase)}`\n")
        parts += [_entry(name, entry) for name, entry in members.items()]
    parts += [_group(name, group) for name, group in catalogue.groups.items()]
    return "\n".join(parts)


def _group(name: str, group: Group) -> str:
    """A group of variants: one command, and a table of its members."""
    command = snakemake_command(name, "bench")
    lines = [f"## {group.title}", "", f"{group.purpose} All of it: `{command}`", ""]
    lines += ["| Target | What it is | Changes |", "|---|---|---|"]
    for variant, change in group.variants.items():
        overrides = group.overrides | change.overrides
        text = ", ".join(f"`{key}: {_yaml(value)}`" for key, value in overrides.items())
        sizes = "; sizes from the preset" if change.sized else ""
        lines.append(f"| `{group.base}{VARIANT_MARK}{variant}` | {change.title} | {text}{sizes} |")
    beside = ", ".join(f"`{name}`" for name in group.beside)
    return "\n".join([*lines, "", f"Beside them: {beside}.", ""])


def _entry(name: str, entry: Experiment) -> str:
    lines = [f"### {name}", "", f"*{entry.title}*", "", f"- **目的 / Purpose**: {entry.purpose}"]
    lines.append(f"- **配置文件 / Config**: `{entry.config}`" + _overrides(entry))
    if entry.init_from is not None:
        lines.append(f"- **初始权重 / Starts from**: `{entry.init_from}`, same seed")
    if entry.needs == "demo":
        lines.append("- **数据 / Data**: generated only (presets `tiny`, `demo`, `bench`)")
    lines += [
        "- **命令 / Command**:",
        "",
        "  ```bash",
        f"  {script_command(name, entry)}",
        "  # or, with everything it needs:",
        f"  {snakemake_command(name)}",
        "  ```",
        "",
    ]
    return "\n".join(lines)


def _overrides(entry: Experiment) -> str:
    changes = [f"`{key}: {_yaml(value)}`" for key, value in entry.overrides.items()]
    if entry.variant != "full":
        changes.append(f"the `{entry.variant}` variant of the data")
    return f", with {', '.join(changes)}" if changes else ""


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
