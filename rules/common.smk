# Shared by all rules: the checked settings, the experiments they can make, and each job's inputs.
import json
import os
import shlex
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))

from pipeline.artifacts import sha256_of_file
from pipeline.config import load_preset, resolve_run
from pipeline.config.cascade_loading import resolve_cascade
from pipeline.data.ieeg_layout import demo_patient_names, patients_of
from pipeline.errors import InputError
from pipeline.experiments import (
    available,
    available_cascade,
    cascade_members,
    data_root,
    load_catalogue,
    made_by,
    members,
    resolve_cascade_experiment,
    resolve_experiment,
)
from pipeline.outcome import failure_summary, success_summary
from pipeline.progress import watch_in_background
from pipeline.run_lock import hold_run_lock
from pipeline.snakemake_overheads import (
    record_parameters_without_pandas,
    wake_scheduler_for_news_only,
)
from pipeline.sources import relative, sources_digest
from pipeline.workflow_settings import (
    prefer_this_python,
    raw_listing,
    recordings_listing,
    resolve_workflow,
    split_lists,
)

prefer_this_python()
record_parameters_without_pandas()

try:
    SETTINGS = resolve_workflow(config)
    PRESET = load_preset(SETTINGS.preset)
    DEFAULTS = resolve_run(SETTINGS.preset)
    DATA_ROOT = data_root(SETTINGS.preset)
    RAW_LISTING = raw_listing(SETTINGS)
    SPLIT_LISTS = split_lists(SETTINGS)
    EXPERIMENTS = available(SETTINGS.preset, with_sound=not SETTINGS.from_frames)
    GROUPS = {
        name: members(name, SETTINGS.preset, with_sound=not SETTINGS.from_frames)
        for name in load_catalogue().groups
    }
    RECORDINGS_LISTING = recordings_listing(SETTINGS)
    HAS_RECORDINGS = SETTINGS.raw_ieeg_root is not None
    CASCADE = available_cascade(SETTINGS.preset, has_recordings=HAS_RECORDINGS)
    CASCADE_GROUPS = cascade_members(SETTINGS.preset, has_recordings=HAS_RECORDINGS)
    CASCADE_SETTINGS = (
        {"data.raw_root": SETTINGS.raw_ieeg_root} if HAS_RECORDINGS else {}
    )
    CASCADE_SEEDS = PRESET.cascade_seeds or PRESET.seeds
    CASCADE_CONFIG = relative(Path(workflow.basedir) / "configs/swec_cascade.yaml")
    CASCADE_DEFAULTS = resolve_cascade(
        SETTINGS.preset, CASCADE_CONFIG, None, CASCADE_SETTINGS
    )
    if HAS_RECORDINGS:
        PATIENTS = patients_of(SETTINGS.raw_ieeg_root, CASCADE_DEFAULTS.data.leave_out)
    else:
        PATIENTS = demo_patient_names(CASCADE_DEFAULTS.demo.patients) if CASCADE else []
except InputError as error:
    raise WorkflowError(str(error))

# What has a name of its own: the catalogue's experiments, and variants that only a group asks for.
RUNS = EXPERIMENTS | {
    name: entry for group in GROUPS.values() for name, entry in group.items()
}
CASCADE_RUNS = CASCADE | {
    name: entry for group in CASCADE_GROUPS.values() for name, entry in group.items()
}
QUANTISED = [
    name for name, entry in CASCADE_RUNS.items() if entry.script == "quantise_cascade"
]
RESULTS = f"results/{SETTINGS.preset}"
SHARDS = SETTINGS.shards or PRESET.shards
ENVIRONMENT = "../envs/chipweave.yaml"
AUDIO_CONFIG = relative(Path(workflow.basedir) / "configs/preprocess_ucf101_audio.yaml")
PROXY_CONFIGS = {
    name: relative(Path(workflow.basedir) / f"configs/proxy_{name}.yaml")
    for name in ("ms_mem", "power")
}
MEASURED_MODELS = [
    path for path in (SETTINGS.model_energy, SETTINGS.model_kernels) if path
]
CHIPS = relative(Path(workflow.basedir) / "configs/gpu_data.yaml")
TEMPLATES = [
    relative(path)
    for path in sorted(Path(workflow.basedir).glob("pipeline/report/templates/*"))
]
GENERATED = PRESET.data_source == "demo"


wildcard_constraints:
    seed=r"\d+",
    shard=r"\d+",
    variant="|_background",
    experiment="|".join(RUNS) or "none",
    cascade="|".join(CASCADE_RUNS) or "none",
    patient="|".join(PATIENTS) or "none",


def trained_by(script):
    """The experiments and variants that a script trains."""
    return [name for name, entry in RUNS.items() if entry.script == script]


def parts(pattern):
    """The part tables of a sharded rule."""
    return expand(pattern, shard=range(SHARDS), allow_missing=True)


def raw_videos(wildcards):
    """What must exist before videos are read: the generated clips, or nothing that we make."""
    return f"{RESULTS}/data/raw{wildcards.variant}/truth.parquet" if GENERATED else []


def frames_source(wildcards):
    """The flags that say where videos and split lists come from."""
    if GENERATED:
        raw = f"{RESULTS}/data/raw{wildcards.variant}"
        return shlex.join(["--raw", f"{raw}/UCF-101", "--splits", f"{raw}/splits"])
    source = (
        ["--from-frames"]
        if SETTINGS.from_frames
        else ["--raw", SETTINGS.raw_video_root]
    )
    if DEFAULTS.data.splits == "by_time":
        return shlex.join([*source, "--by-time"])
    return shlex.join(
        [*source, "--splits", SETTINGS.splits_root or f"{DATA_ROOT}/splits"]
    )


def audio_settings(wildcards):
    """The feature settings of the preset and its folders, as `--set` flags."""
    values = {
        "raw_video_root": (
            f"{RESULTS}/data/raw/UCF-101" if GENERATED else SETTINGS.raw_video_root
        ),
        "frames_root": f"{DATA_ROOT}/frames",
        "audio_root": f"{DATA_ROOT}/audio",
        **DEFAULTS.audio.model_dump(),
    }
    return shlex.join(
        word
        for key, value in values.items()
        for word in ("--set", f"data.{key}={json.dumps(value)}")
    )


def data_tables():
    """The tables that finish the data stages."""
    if PRESET.data_source == "none":
        return []
    tables = [f"{DATA_ROOT}/manifest.parquet"]
    return tables if SETTINGS.from_frames else [*tables, f"{DATA_ROOT}/audio.parquet"]


@cache
def resolved_once(experiment, seed):
    """The configuration of one run; a plan asks for each several times."""
    return resolve_experiment(experiment, SETTINGS.preset, seed)


def resolved(wildcards):
    """The configuration of one run."""
    return resolved_once(wildcards.experiment, int(wildcards.seed))


def training_data(wildcards):
    """The tables a run reads: frames always, sound only if it uses sound."""
    run = resolved(wildcards)
    tables = [f"{run.data.root}/manifest.parquet"]
    if run.training.mode != "dense_baseline" and run.data.truth:
        tables.append(run.data.truth)
    return [*tables, f"{run.data.root}/audio.parquet"] if run.data.use_audio else tables


def start_weights(wildcards):
    """The model a run starts from, of the same seed."""
    origin = RUNS[wildcards.experiment].init_from
    return (
        f"{RESULTS}/{origin}/seed{wildcards.seed}/model.safetensors" if origin else []
    )


def resolved_cascade(wildcards):
    """The configuration of one run of the cascade."""
    return resolve_cascade_experiment(
        wildcards.cascade, SETTINGS.preset, int(wildcards.seed), CASCADE_SETTINGS
    )


def cascade_assignments():
    """What the workflow's settings change in a cascade configuration, as `--set` flags."""
    return shlex.join(
        word
        for key, value in CASCADE_SETTINGS.items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    )


def of_patients(pattern):
    """One path per patient of the cascade."""
    return expand(pattern, patient=PATIENTS, allow_missing=True)


def joined_metrics(names):
    """The metrics of experiments, all seeds in one table each."""
    return [f"{RESULTS}/{name}/metrics.parquet" for name in names]


def run_tables(names):
    """What the report reads from every run beside its metrics."""
    tables = ("config.yaml", "cost.parquet", "history.parquet", "predictions.parquet")
    return expand(
        f"{RESULTS}/{{name}}/seed{{seed}}/{{table}}",
        name=names,
        seed=PRESET.seeds,
        table=tables,
    )


def finished_variants():
    """The variants of groups that were run, each with a hash of its metrics, so that a new one is noticed."""
    variants = {*RUNS, *CASCADE_RUNS} - {*EXPERIMENTS, *CASCADE}
    tables = [Path(path) for path in joined_metrics(variants)]
    return sorted(
        [str(path), sha256_of_file(path)] for path in tables if path.is_file()
    )


def of_phase(phase):
    """The experiments of one phase of the catalogue."""
    both = {**EXPERIMENTS, **CASCADE}
    return [name for name, entry in both.items() if entry.phase == phase]


def pruned_runs():
    """The run folders of networks that give something up, which hardware costs are predicted for."""
    names = [
        name
        for name, entry in EXPERIMENTS.items()
        if entry.phase != "smoke"
        and resolved_once(name, 0).training.mode == "single_device_ast"
    ]
    return expand(f"{RESULTS}/{{name}}/seed{{seed}}", name=names, seed=PRESET.seeds)


def proxy_settings(models=False):
    """What the preset says about the proxies' fits, and the tables of measured models, as `--set` flags."""
    values = dict(PRESET.phase0.proxy)
    if models and SETTINGS.model_energy:
        values["data.model_energy"] = SETTINGS.model_energy
        values["data.model_kernels"] = SETTINGS.model_kernels
    return shlex.join(
        word
        for key, value in values.items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    )


def fitted_proxy(wildcards):
    """The fitted proxy that a run prices its gates with, if it does."""
    hw = resolved(wildcards).hw
    folder = f"{RESULTS}/EXP-P0-1-ms-mem/seed0"
    if not (hw.use_hw_loss and hw.proxy == "fitted"):
        return []
    return [f"{folder}/proxy.json", f"{folder}/model.safetensors"]


def proxy_metrics():
    """The metrics of Phase 0, by experiment."""
    return {
        name: f"{RESULTS}/{name}/seed0/metrics.parquet"
        for script in ("run_proxy_ms_mem", "run_proxy_power")
        for name in made_by(script)
    }
