"""The exact commands that make each experiment again."""

from __future__ import annotations

from markupsafe import Markup

from ...experiments import TRAINING_SCRIPTS, Experiment, available_cascade, load_catalogue
from ..blocks import Html, Prose, Section
from ..context import Context
from ..experiments_md import script_command, snakemake_command
from ..tables import Arm
from ..templating import render_template


def section(context: Context) -> Section:
    """One entry per experiment: what for, what state, which commands."""
    everything = snakemake_command("", context.preset_name, context.needs_folder)
    folder = Markup(" Put your folder of <code>Class/*.avi</code> in place of FOLDER.") if context.needs_folder else ""
    intro = Markup(
        "All of this page: <code>{}</code>.{} The first line of each entry makes the experiment with everything it "
        "needs, all seeds; the second runs one seed by hand on data that is there."
    ).format(everything, folder)
    entries = [_entry(context, arm) for arm in context.arms]
    entries += [_other_entry(context, name, entry) for name, entry in _others(context).items()]
    html = render_template("reproduce.html.jinja", entries=entries)
    return Section("reproduce", "How to reproduce", (Prose(intro), Html(html)))


def _entry(context: Context, arm: Arm) -> dict[str, object]:
    entry = arm.entry
    if entry is None:
        folders = [folder.as_posix() for folder in (*(run.folder for run in arm.runs), *arm.unfinished)]
        commands = [
            f"python -m scripts.run_ast2_ucf101 --cfg {folder}/config.yaml --out {folder}" for folder in folders
        ]
    else:
        commands = [
            snakemake_command(arm.name, context.preset_name, context.needs_folder),
            script_command(arm.name, entry, context.preset_name),
        ]
    return {
        "name": arm.name,
        "title": arm.title,
        "purpose": entry.purpose if entry else "",
        "init_from": entry.init_from if entry else None,
        "status": "unfinished: see its log.txt" if arm.status == "unfinished" else arm.status,
        "seeds": ", ".join(str(run.config.seed) for run in arm.runs) or "none",
        "commands": commands,
    }


def _others(context: Context) -> dict[str, Experiment]:
    """Experiments that train no network on videos: the proxies and, where there are recordings, the cascade."""
    cascade = available_cascade(context.preset_name)
    return {
        name: entry
        for name, entry in load_catalogue().experiments.items()
        if entry.script not in TRAINING_SCRIPTS and (name in cascade or not entry.is_cascade)
    }


def _other_entry(context: Context, name: str, entry: Experiment) -> dict[str, object]:
    folders = [folder for folder in context.results.glob(f"{name}/seed*") if any(folder.rglob("metrics.parquet"))]
    seeds = sorted(folder.name.removeprefix("seed") for folder in folders)
    return {
        "name": name,
        "title": entry.title,
        "purpose": entry.purpose,
        "init_from": None,
        "status": "done" if seeds else "not run",
        "seeds": ", ".join(seeds) or "none",
        "commands": [
            snakemake_command(name, context.preset_name, context.needs_folder),
            script_command(name, entry, context.preset_name),
        ],
    }
