"""Reading the artefacts a report is made of: run folders, the data folder, benchmarks.

Nothing here trains or computes a model; what was not made is represented as such, what is damaged is an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from ..artifacts import read_parquet
from ..config import RunConfig, load_resolved
from ..config.cascade_loading import is_cascade
from ..config.loading import is_resolved
from ..data.splits import CLASS_INDEX, TEST_LIST, TRAIN_LIST, read_class_index, read_list
from ..errors import DataError
from ..experiments import VARIANT_MARK, Experiment, load_catalogue

METRIC_COLUMNS = ("experiment", "seed", "split", "metric", "value", "unit")
HISTORY_COLUMNS = ("epoch", "step", "split", "metric", "value")
PREDICTION_COLUMNS = ("split", "video_id", "group", "label", "prediction")
MANIFEST_COLUMNS = ("video_id", "class", "label", "group", "n_frames", "fps", "width", "height", "has_audio", "status")
USABLE = ("ok", "truncated")
SHARD = re.compile(r"-.*$")
REPORT_RULE = "make_report"
TRAINING_RULE = "train_single_device"
# Rules bear the name of the script that they run, but for these.
RULES_OF_SCRIPTS = {"run_ast2_ucf101": TRAINING_RULE}
# Never `**`: under the results lies the data folder with a JPEG file per frame. The cascade has a folder per patient.
BENCHMARKS = (
    "benchmarks/*.jsonl",
    "*/seed*/benchmark.jsonl",
    "*/seed*/*/benchmark.jsonl",
    "adhoc/*/seed*/benchmark.jsonl",
)
BENCHMARK_COLUMNS = ["rule", "job", "wall_s", "cpu_s", "peak_memory_mb"]


@dataclass(frozen=True)
class Run:
    """One finished run folder."""

    folder: Path
    config: RunConfig
    metrics: pd.DataFrame
    cost: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Arm:
    """An experiment of the report: its catalogue entry (None for an ad-hoc run) and its finished seeds."""

    name: str
    entry: Experiment | None
    runs: tuple[Run, ...]
    unfinished: tuple[Path, ...]
    seeds_planned: int

    @property
    def short_name(self) -> str:
        """The ID without its prefix, for figures."""
        return self.name.removeprefix("EXP-").removeprefix("adhoc/")

    @property
    def title(self) -> str:
        """What it is, in a few words; an ad-hoc run is `adhoc/<stem of its config>-<hash>`."""
        if self.entry is not None:
            return self.entry.title
        return f"Ad-hoc run of {self.short_name.rpartition('-')[0] or self.short_name}"

    @property
    def status(self) -> Literal["done", "partial", "unfinished", "not run"]:
        """`partial`: seeds are missing; `unfinished`: started, but no seed came to its end."""
        if self.runs:
            return "done" if len(self.runs) >= self.seeds_planned else "partial"
        return "unfinished" if self.unfinished else "not run"

    @property
    def is_control(self) -> bool:
        """Controls carry a `-C<number>-` in their ID."""
        return any(part[0] == "C" and part[1:].isdigit() for part in self.name.split("-") if part)

    def value(self, metric: str, split: str = "test") -> float | None:
        """Mean of a metric over the finished seeds, None where no seed has it."""
        table = pd.concat([run.metrics for run in self.runs]) if self.runs else pd.DataFrame(columns=METRIC_COLUMNS)
        return _mean_of(table[(table["metric"] == metric) & (table["split"] == split)])

    def cost(self, metric: str) -> float | None:
        """Mean of a cost metric over the finished seeds, None where no seed has it."""
        table = pd.concat([run.cost for run in self.runs]) if self.runs else pd.DataFrame(columns=METRIC_COLUMNS)
        return _mean_of(table[table["metric"] == metric])


@dataclass(frozen=True)
class DataFolder:
    """The data of the preset; a table is None where its stage has not run."""

    root: Path
    frames: Path
    audio_features: Path
    manifest: pd.DataFrame | None
    audio: pd.DataFrame | None
    listed: dict[str, frozenset[str]]

    def class_names(self) -> dict[int, str]:
        """Class name by label, from the manifest."""
        if self.manifest is None:
            return {}
        known = self.manifest[self.manifest["label"] >= 0]
        return dict(zip(known["label"].astype(int), known["class"], strict=True))


def read_data(config: RunConfig) -> DataFolder:
    """Read the tables of a run's data folder."""
    root = Path(config.data.root)
    splits = Path(config.data.splits_root or root / "splits")
    audio_features = Path(config.data.audio_root or root / "audio")
    lists = {"train": splits / TRAIN_LIST, "test": splits / TEST_LIST}
    return DataFolder(
        root=root,
        frames=Path(config.data.frames_root or root / "frames"),
        audio_features=audio_features,
        manifest=_optional_table(root / "manifest.parquet", MANIFEST_COLUMNS),
        audio=_optional_table(root / "audio.parquet", ("video_id", "status")),
        listed={name: _listed(path) for name, path in lists.items() if path.is_file()},
    )


def usable_videos(manifest: pd.DataFrame) -> pd.DataFrame:
    """The videos that frames were read of, and their `seconds`: NaN where the frame rate is unknown.

    What starts from a JPEG tree alone has no frame rate.
    """
    usable = manifest[manifest["status"].isin(USABLE)]
    return usable.assign(seconds=usable["n_frames"] / usable["fps"].where(usable["fps"] > 0))


def read_benchmarks(results: Path) -> pd.DataFrame:
    """One row per job: rule, job, wall and CPU seconds, peak memory in MB (NaN where too short to measure).

    Snakemake names the rule only with `--benchmark-extended`; else the file `benchmarks/<rule>[-<shard>].jsonl` does,
    and a run folder's own benchmark is that of its experiment's script. The report's own job is left out: it is not
    over yet.
    """
    rows = []
    for path in sorted(path for pattern in BENCHMARKS for path in results.glob(pattern)):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if line.strip():
                rows.append(_benchmark_row(path, number, line, results))
    table = pd.DataFrame(rows, columns=BENCHMARK_COLUMNS)
    for name in BENCHMARK_COLUMNS[2:]:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    return table[table["rule"] != REPORT_RULE].reset_index(drop=True)


def _benchmark_row(path: Path, number: int, line: str, results: Path) -> list[object]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not JSON ({error}); delete the file and run its rule again") from error
    relative = path.relative_to(results)
    in_benchmarks = relative.parts[0] == "benchmarks"
    rule = SHARD.sub("", relative.with_suffix("").parts[1]) if in_benchmarks else _rule_of_run(relative.parts[0])
    job = str(relative.with_suffix("") if in_benchmarks else relative.parent)
    values = [record.get("s"), record.get("cpu_time"), record.get("max_rss")]
    return [record.get("rule_name") or rule, job, *values]


def _rule_of_run(experiment: str) -> str:
    """The rule that makes the run folders of an experiment; ad-hoc runs and removed experiments are trainings."""
    entry = load_catalogue().experiments.get(experiment.partition(VARIANT_MARK)[0])
    return TRAINING_RULE if entry is None else RULES_OF_SCRIPTS.get(entry.script, entry.script)


def read_configs(results: Path) -> dict[Path, RunConfig]:
    """The resolved configuration of every video run folder under `results`, in order of seed."""
    found = [*results.glob("*/seed*/config.yaml"), *results.glob("adhoc/*/seed*/config.yaml")]
    found = [path for path in found if not is_cascade(path)]
    folders = sorted((path.parent for path in found), key=lambda folder: (folder.parent.name, _seed_number(folder)))
    # A proxy's folder has a configuration too, but of another schema: it names no experiment.
    return {folder: load_resolved(folder / "config.yaml") for folder in folders if is_resolved(folder / "config.yaml")}


def _seed_number(folder: Path) -> int:
    number = folder.name.removeprefix("seed")
    return int(number) if number.isdigit() else -1


def read_arm(name: str, entry: Experiment | None, configs: dict[Path, RunConfig], seeds_planned: int) -> Arm:
    """Collect the finished and unfinished run folders of one experiment."""
    mine = [folder for folder, config in configs.items() if config.experiment == name]
    # metrics.parquet is written last: without it the run is not finished
    done = [folder for folder in mine if (folder / "metrics.parquet").is_file()]
    runs = tuple(_read_run(folder, configs[folder]) for folder in done)
    unfinished = tuple(folder for folder in mine if folder not in done)
    return Arm(name, entry, runs, unfinished, seeds_planned if entry is not None else len(mine))


def _read_run(folder: Path, config: RunConfig) -> Run:
    return Run(
        folder,
        config,
        metrics=read_parquet(folder / "metrics.parquet", METRIC_COLUMNS),
        cost=read_parquet(folder / "cost.parquet", METRIC_COLUMNS),
        history=read_parquet(folder / "history.parquet", HISTORY_COLUMNS),
        predictions=read_parquet(folder / "predictions.parquet", PREDICTION_COLUMNS),
    )


def _mean_of(table: pd.DataFrame) -> float | None:
    return float(table["value"].mean()) if len(table) else None


def _optional_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    return read_parquet(path, columns) if path.is_file() else None


def _listed(path: Path) -> frozenset[str]:
    """Video IDs of a split list."""
    videos = read_list(path, read_class_index(path.parent / CLASS_INDEX))
    return frozenset(video.video_id for video in videos)
