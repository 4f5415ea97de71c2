"""A made-up results folder that looks like a finished demo: what the report is tested and timed on.

Nothing is trained. Predictions are drawn with an effect of each group and seed, so that bounds have something to cover.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.artifacts import write_json, write_npy, write_parquet, write_text, write_yaml
from pipeline.config import RunConfig
from pipeline.data.splits import CLASS_INDEX, write_class_index
from pipeline.experiments import resolve_experiment

CLASSES = ("BounceBlue", "BounceRed", "CircleBlue", "CircleRed", "SlideBlue", "SlideRed")
ACCURACY = {
    "EXP-P1V-1-dense-multiscale": 0.72,
    "EXP-P1V-2-dense-noscale": 0.69,
    "EXP-P1V-C1-scrambled-labels": 1 / 6,
    "EXP-P1V-C2-background-only": 1 / 6,
    "EXP-P1AV-1-av-dense-late-fusion": 0.80,
    "EXP-P1AV-C1-early-fusion": 0.70,
    "EXP-P1AV-C3-shuffled-audio": 0.52,
}
FRAME_SIZE = (160, 120)
FPS = 25.0


@dataclass(frozen=True)
class World:
    """How large the made-up results are."""

    accuracy: dict[str, float] = field(default_factory=lambda: dict(ACCURACY))
    seeds: tuple[int, ...] = (0, 1)
    groups: int = 9
    test_groups: int = 4
    clips: int = 3
    assignments: dict[str, object] = field(default_factory=dict)
    damaged: bool = True


def fabricate(results: Path, world: World | None = None) -> Path:
    """Write run folders, a data folder and benchmarks under `results`; return `results`."""
    world = world or World()
    root = results / "data" / "ucf101"
    manifest = _manifest(world)
    _write_data(results, root, manifest, world)
    for number, (name, accuracy) in enumerate(world.accuracy.items()):
        for seed in world.seeds:
            config = resolve_experiment(name, "demo", seed, {"data.root": str(root), **world.assignments})
            _write_run(
                results / name / f"seed{seed}", config, manifest, accuracy, np.random.default_rng([number, seed])
            )
    _write_benchmarks(results)
    return results


def _manifest(world: World) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "video_id": f"v_{name}_g{group:02d}_c{clip:02d}",
            "class": name,
            "label": label,
            "group": group,
            "n_frames": int(rng.integers(32, 48)),
            "fps": FPS,
            "width": FRAME_SIZE[0],
            "height": FRAME_SIZE[1],
            "has_audio": bool(rng.random() > 0.15),
            "status": "ok",
            "message": "",
            "sha256": f"{rng.integers(2**60):064x}",
        }
        for label, name in enumerate(CLASSES)
        for group in range(1, world.groups + 1)
        for clip in range(1, world.clips + 1)
    ]
    table = pd.DataFrame(rows)
    if world.damaged:
        trained = table.index[table["group"] == world.groups]
        table.loc[trained[0], ["status", "message"]] = ["truncated", "file ends after frame 12 of 40"]
        table.loc[trained[0], "n_frames"] = 12
        table.loc[trained[1], ["status", "message"]] = ["bad", "moov atom not found <0 bytes>"]
        table.loc[trained[1], "n_frames"] = 0
    return table


def _write_data(results: Path, root: Path, manifest: pd.DataFrame, world: World) -> None:
    write_parquet(root / "manifest.parquet", manifest)
    write_class_index(root / "splits" / CLASS_INDEX, CLASSES)
    test = manifest["group"] <= world.test_groups
    for split, chosen in (("test", test), ("train", ~test)):
        lines = [f"{row['class']}/{row['video_id']}.avi" for _, row in manifest[chosen].iterrows()]
        write_text(root / "splits" / f"{split}list01.txt", "\r\n".join(lines) + "\r\n")
    status = np.where(manifest["status"] == "bad", "bad", np.where(manifest["has_audio"], "ok", "no_audio"))
    audio = manifest[["video_id", "message", "n_frames"]].assign(
        status=status, duration_s=manifest["n_frames"] / manifest["fps"]
    )
    write_parquet(root / "audio.parquet", audio)
    shown = manifest[test].groupby("class").head(1)
    truth = []
    for number, (_, row) in enumerate(shown.iterrows()):
        truth.append(_write_clip(root, row, number))
    write_parquet(results / "data" / "raw" / "truth.parquet", pd.concat(truth, ignore_index=True))


def _write_clip(root: Path, row: pd.Series, number: int) -> pd.DataFrame:
    """JPEG frames of a moving disc with its log-mel features; returns the disc's boxes."""
    width, height = FRAME_SIZE
    y, x = np.mgrid[:height, :width]
    background = np.stack([110 + 60 * np.sin(x / (17 + 5 * k) + number + y / 23) for k in range(3)], axis=-1)
    boxes = []
    folder = root / "frames" / row["class"] / row["video_id"]
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(row["n_frames"]):
        phase = 2 * math.pi * 1.5 * frame / FPS
        centre = width / 2 + 35 * math.cos(phase), height / 2 + 25 * math.sin(phase)
        disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 14**2
        picture = background.copy()
        picture[disc] = (200, 70, 60) if "Red" in row["class"] else (60, 90, 210)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{frame + 1:05d}.jpg", quality=90)
        boxes.append((row["video_id"], frame, centre[0] - 14, centre[1] - 14, centre[0] + 14, centre[1] + 14, True))
    time = np.arange(row["n_frames"])[:, None] / FPS
    band = np.arange(64)[None, :]
    tone = np.exp(-(((band - 20 - 4 * number) / 3.0) ** 2)) * (0.5 + 0.5 * np.cos(2 * math.pi * 1.5 * time))
    features = (0.15 + 0.8 * tone) * row["has_audio"]
    write_npy(root / "audio" / f"{row['video_id']}.npy", features.astype(np.float32))
    return pd.DataFrame(boxes, columns=["video_id", "frame", "x0", "y0", "x1", "y1", "moving"])


def _write_run(
    folder: Path, config: RunConfig, manifest: pd.DataFrame, accuracy: float, rng: np.random.Generator
) -> None:
    write_yaml(folder / "config.yaml", config.model_dump(mode="json"))
    usable = manifest[manifest["status"] == "ok"]
    groups = sorted(usable["group"].unique())
    by_time = config.data.splits == "by_time"
    tested = usable if by_time else usable[usable["group"] <= max(1, len(groups) // 2)]
    validated = usable if by_time else usable[usable["group"].isin(groups[-2:])]
    predictions = pd.concat(
        [
            _predictions(tested, accuracy, rng).assign(split="test"),
            _predictions(validated, accuracy, rng).assign(split="val"),
        ]
    )
    write_parquet(folder / "predictions.parquet", predictions.reset_index(drop=True))
    pruned = config.training.mode != "dense_baseline"
    history = _history(config, accuracy, rng)
    write_parquet(folder / "history.parquet", pd.concat([history, _sparsity_history(config)]) if pruned else history)
    metrics = {split: _metrics(predictions[predictions["split"] == split]) for split in ("val", "test")}
    if pruned:
        metrics = {split: values | _sparsities(config, 1.0) | {"kept_tokens": 0.5} for split, values in metrics.items()}
        _write_pruning_record(folder / "pruning", config, tested, rng)
    note = "same videos in all splits, cut in time" if by_time else ""
    write_parquet(folder / "metrics.parquet", _long(config, metrics).assign(note=note))
    scale = 2.0 if config.data.use_audio else 1.0
    cost = {
        "parameters": 185_000 * scale,
        "macs_per_clip": 23.4e6 * scale,
        "train_throughput": 210.0,
        "eval_throughput": 480.0,
        "train_time": 0.0 if config.training.num_epochs == 0 else 36.0 * scale,
        "peak_memory": 410.0,
    }
    if pruned:
        cost |= {"forward_time": 1.3, "dense_forward_time": 2.0, "macs_per_clip": 15.0e6, "compact_forward_time": 1.1}
    write_parquet(folder / "cost.parquet", _long(config, {"all": cost}))
    write_text(folder / "benchmark.jsonl", json.dumps(_benchmark(40.0 * scale, rng)) + "\n")
    write_json(folder / "progress.json", {"run": config.experiment, "stage": "train", "epoch": 40, "epochs": 40})


def _predictions(videos: pd.DataFrame, accuracy: float, rng: np.random.Generator) -> pd.DataFrame:
    cluster = videos["class"] + videos["group"].astype(str)
    effect = {name: rng.normal(0, 0.08) for name in cluster.unique()}
    right = rng.random(len(videos)) < accuracy + cluster.map(effect).to_numpy()
    labels = videos["label"].to_numpy()
    # A wrong answer is most often the same motion in the other colour, i.e. the neighbouring label.
    wrong = np.where(rng.random(len(videos)) < 0.5, labels ^ 1, (labels + rng.integers(1, 6, len(videos))) % 6)
    guess = np.where(right, labels, wrong)
    probabilities = rng.dirichlet(np.ones(6), len(videos)) * 0.5
    probabilities[np.arange(len(videos)), guess] += 0.5
    table = videos[["video_id", "group", "label", "has_audio"]].reset_index(drop=True).assign(prediction=guess)
    return table.assign(**{f"p_{k}": probabilities[:, k] for k in range(6)})


def _history(config: RunConfig, accuracy: float, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    epochs = config.training.num_epochs
    for epoch in range(1, epochs + 1):
        done = epoch / epochs
        rows.append((epoch, 12 * epoch, "train", "train_loss", 1.8 - (0.4 + accuracy) * done + rng.normal(0, 0.03)))
        rows.append((epoch, 12 * epoch, "train", "learning_rate", 2e-3 * (1 + math.cos(math.pi * done)) / 2))
        if epoch % 8 == 0 or epoch == epochs:
            rows.append((epoch, 12 * epoch, "val", "video_top1", accuracy * (0.4 + 0.6 * done) + rng.normal(0, 0.02)))
            rows.append((epoch, 12 * epoch, "val", "video_nll", 1.8 - accuracy * done))
    return pd.DataFrame(rows, columns=["epoch", "step", "split", "metric", "value"])


def _sparsities(config: RunConfig, done: float) -> dict[str, float]:
    ast = config.ast
    gates = {"head": ast.target_head, "ch": ast.target_ch, "block": ast.target_block} if ast.gates else {}
    targets = {"token": 1.0 - ast.keep_shares()[-1], **gates}
    return {f"sparsity_{kind}": target * min(1.0, 1.4 * done) for kind, target in targets.items()}


def _sparsity_history(config: RunConfig) -> pd.DataFrame:
    epochs = config.epochs()
    rows = []
    for epoch in range(1, epochs + 1):
        for name, value in _sparsities(config, epoch / epochs).items():
            rows.append((epoch, 12 * epoch, "train", name, value))
            layers = [1] if name == "sparsity_token" else range(config.model.depth)
            rows += [(epoch, 12 * epoch, "train", f"{name}/block{k}", value * (0.8 + 0.1 * k)) for k in layers]
    return pd.DataFrame(rows, columns=["epoch", "step", "split", "metric", "value"])


def _write_pruning_record(folder: Path, config: RunConfig, tested: pd.DataFrame, rng: np.random.Generator) -> None:
    """Masks that follow the disc's scores, for the first video of each class."""
    first = tested.sort_values(["label", "video_id"]).groupby("label").head(1)
    frames, patches = config.data.num_frames, (config.data.image_size // config.model.patch_size) ** 2
    rows = [
        {"video_id": row["video_id"], "label": row["label"], "frame_ids": list(range(0, 2 * frames, 2))}
        for _, row in first.iterrows()
    ]
    write_parquet(folder / "windows.parquet", pd.DataFrame(rows).assign(top=4, left=16))
    scores = rng.random((len(first), frames, patches)).astype(np.float32)
    write_npy(folder / "scores.npy", scores)
    write_npy(folder / "kept.npy", scores > np.median(scores, axis=(1, 2), keepdims=True))
    write_npy(folder / "entropy.npy", (3.0 + scores.mean(axis=1)).astype(np.float32))


def _metrics(predictions: pd.DataFrame) -> dict[str, float]:
    top1 = float((predictions["label"] == predictions["prediction"]).mean())
    return {
        "clip_top1": top1 - 0.04,
        "clip_top5": 0.97,
        "video_top1": top1,
        "video_top5": 0.98,
        "video_nll": 1.9 - 1.4 * top1,
    }


def _long(config: RunConfig, values: dict[str, dict[str, float]]) -> pd.DataFrame:
    units = {
        "video_nll": "nat",
        "parameters": "count",
        "macs_per_clip": "count",
        "train_time": "s",
        "peak_memory": "MB",
    }
    rows = [
        (config.experiment, config.seed, split, metric, value, units.get(metric, "share"))
        for split, metrics in values.items()
        for metric, value in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["experiment", "seed", "split", "metric", "value", "unit"])


def _benchmark(wall_s: float, rng: np.random.Generator) -> dict[str, object]:
    wall_s *= float(rng.uniform(0.9, 1.1))
    return {"s": wall_s, "h:m:s": "0:00:40", "cpu_time": wall_s * 0.97, "max_rss": 410.0 + 20 * rng.random()}


def _write_benchmarks(results: Path) -> None:
    rng = np.random.default_rng(1)
    for rule, wall_s in {"make_demo_data": 21.0, "extract_frames": 8.0, "preprocess_audio": 4.5}.items():
        for shard in range(2):
            write_text(results / "benchmarks" / f"{rule}-{shard}.jsonl", json.dumps(_benchmark(wall_s, rng)) + "\n")
    short = {"s": 0.4, "cpu_time": 0.0, "max_rss": "NA", "rule_name": "merge_manifest", "wildcards": {}}
    write_text(results / "benchmarks" / "merge_manifest.jsonl", json.dumps(short) + "\n")
    write_text(results / "benchmarks" / "make_report.jsonl", json.dumps(_benchmark(9.0, rng)) + "\n")
