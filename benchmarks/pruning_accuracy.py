"""Pruning against its rivals: accuracy on preset `bench`, without fine-tuning too, the target's tokens, and speed.

Snakemake makes the group `ablation_pruning` first, which does nothing where it is up to date; from nothing it takes
about an hour on two cores.

Run: python -m benchmarks.pruning_accuracy --json OUT
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.accuracy import DENSE, make
from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from pipeline.config import RunConfig
from pipeline.data.target_tokens import target_tokens
from pipeline.data.ucf101 import UCF101Dataset, make_loader
from pipeline.experiments import resolve_experiment
from pipeline.models.build import build_model
from pipeline.models.video_vit import VideoViT
from pipeline.report.accuracy import scored_videos
from pipeline.report.context import Context
from pipeline.report.statistics import Interval, non_inferiority, paired_bootstrap
from pipeline.trainer.evaluation import video_of_window
from pipeline.trainer.metrics import mean_over_windows
from pipeline.trainer.start_weights import load_start

GROUP = "ablation_pruning"
BASE = "EXP-P1V-3-ast-no-hw"
CONTINUED = "EXP-P1V-C3-dense-continued"
RIVALS = ("evit", "tome-once", "tome-each-block")
MARGIN = 0.02
# The spec's score: entropy of windows' means, equal weights, one constant for all regions.
LITERAL = {"time_score": "entropy", "b_space": 1.0, "c_region": 1.0, "region_score": "constant"}
SCORES: dict[str, dict[str, Any]] = {"ours": {}, "literal": LITERAL, "random": {"selector": "random"}}
SHARES = {0.25: 5.0, 0.1: 15.0}
PRESET = "bench"


def trained_figures(context: Context) -> list[Figure]:
    """Keep 0.5 after further training: against dense with as many steps, the best rival, and dense of equal MACs."""
    ours = scored(context, f"{BASE}__ast")
    loss = loss_against(scored(context, CONTINUED), ours)
    rivals = {name: scored(context, f"{BASE}__{name}") for name in RIVALS}
    best = max(rivals, key=lambda name: rivals[name]["correct"].mean())
    behind = loss_against(rivals[best], ours)
    gain = gap(ours, scored(context, f"{BASE}__dense-equal-macs"))
    middle = f"(mean {100 * gain.mean:+.1f}, upper bound {100 * gain.high:+.1f})"
    for name, table in {"pruned": ours, "dense": scored(context, CONTINUED), **rivals}.items():
        print(f"keep 0.5, {name}: {table['correct'].mean():.3f}")
    return [
        Figure("keep 0.5: loss against dense, upper 95 % bound", 100 * loss, "points", 100 * MARGIN, "lower"),
        Figure(f"keep 0.5: loss against {best}, upper 95 % bound", 100 * behind, "points", 100 * MARGIN, "lower"),
        Figure(
            f"keep 0.5: gain over dense of equal MACs {middle}, lower 95 % bound",
            100 * gain.low,
            "points",
            0.0,
            "higher",
        ),
    ]


def scored(context: Context, name: str) -> pd.DataFrame:
    """Right or wrong by seed and test video of a finished experiment or variant."""
    arm = context.arm(name)
    if arm is None or not arm.runs:
        raise SystemExit(f"{name} has not been run: snakemake --cores all {GROUP} --config preset={PRESET}")
    return scored_videos(arm)


def _pairs(first: pd.DataFrame, second: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    pairs = first.merge(second, on=["seed", "video_id", "cluster"], suffixes=("_a", "_b"), validate="one_to_one")
    columns = ("correct_a", "correct_b", "cluster", "seed")
    a, b, cluster, seed = (pairs[name].to_numpy() for name in columns)
    return a, b, cluster.astype(str), seed


def loss_against(reference: pd.DataFrame, candidate: pd.DataFrame) -> float:
    """Upper one-sided 95 % bound of what the candidate loses, as a share."""
    theirs, ours, cluster, seed = _pairs(reference, candidate)
    return non_inferiority(ours, theirs, cluster, seed, margin=MARGIN).upper_bound


def gap(first: pd.DataFrame, second: pd.DataFrame) -> Interval:
    """Accuracy of the first minus the second, paired, over groups and seeds."""
    return paired_bootstrap(*_pairs(first, second))


def pruned(cfg: RunConfig, weights: Path | None, classes: int, **ast: Any) -> VideoViT:
    """A network with a dense run's weights that drops tokens by rules that were never trained."""
    settings = cfg.ast.model_copy(update={"gates": False, **ast})
    training = cfg.training.model_copy(update={"mode": "single_device_ast"})
    model = build_model(cfg.model_copy(update={"ast": settings, "training": training}), classes)
    assert isinstance(model, VideoViT)
    if weights is not None:
        load_start(model, weights)
    model.eval()
    if settings.selector == "random" and model.ast_pruner is not None:
        # Tokens drawn anew for every clip, as in training; hidden keys give the same logits as gathering.
        model.ast_pruner.train()
    return model


def untrained_figures(folder: Path, seeds: list[int]) -> list[Figure]:
    """Pruning straight after the embedding, windows of 16 frames, weights of the dense runs as they are."""
    tables: dict[tuple[str, float], list[pd.DataFrame]] = {}
    for seed in seeds:
        cfg = resolve_experiment(DENSE, PRESET, seed, {"data.clip_lens": [16]})
        dataset = UCF101Dataset(cfg, "test")
        weights = folder / f"seed{seed}" / "model.safetensors"
        models: dict[tuple[str, float], nn.Module] = {
            (name, share): pruned(cfg, weights, dataset.num_classes, prune_layers=[0], rho_target=share, **ast)
            for name, ast in SCORES.items()
            for share in SHARES
        }
        torch.manual_seed(seed)
        for key, table in right_or_wrong(models, dataset).items():
            tables.setdefault(key, []).append(table.assign(seed=seed))
    joined = {key: pd.concat(parts, ignore_index=True) for key, parts in tables.items()}
    figures = []
    for share, bar in SHARES.items():
        for name in SCORES:
            print(f"layer 0, keep {share}, {name}: {joined[name, share]['correct'].mean():.3f}")
        over_random = gap(joined["ours", share], joined["random", share])
        over_literal = gap(joined["ours", share], joined["literal", share])
        what = f"layer 0, keep {share}, no fine-tuning: ours minus"
        figures += [
            Figure(f"{what} random", 100 * over_random.mean, "points", bar, "higher"),
            Figure(f"{what} random, lower 95 % bound", 100 * over_random.low, "points", 0.0, "higher"),
            Figure(f"{what} literal score", 100 * over_literal.mean, "points", 0.0, "higher"),
        ]
    return figures


@torch.no_grad()
def right_or_wrong(models: Mapping[Any, nn.Module], dataset: UCF101Dataset) -> dict[Any, pd.DataFrame]:
    """One row per test video for each model: video_id, cluster (class and group), correct."""
    outputs: dict[Any, list[np.ndarray]] = {key: [] for key in models}
    for batch in make_loader(dataset, None):
        for key, model in models.items():
            outputs[key].append(model(batch["video"]).softmax(dim=1).numpy())
    videos = dataset.videos
    labels = videos["label"].to_numpy()
    known = pd.DataFrame(
        {"video_id": videos["video_id"], "cluster": videos["label"].astype(str) + "/g" + videos["group"].astype(str)}
    )
    tables = {}
    for key, parts in outputs.items():
        mean = mean_over_windows(np.concatenate(parts), video_of_window(dataset), len(labels))
        tables[key] = known.assign(correct=(mean.argmax(axis=1) == labels).astype(float))
    return tables


def target_figures(context: Context, seeds: list[int]) -> list[Figure]:
    """Share of the moving target's tokens that is kept at keep 0.25: by the fine-tuned runs, and on raw pixels.

    No network learns from raw pixels on these clips in so few steps, so the raw figure is that of fresh ones.
    """
    arm = context.arm(f"{BASE}__keep-0.25")
    kept = None if arm is None else arm.value("target_tokens_kept")
    if kept is None:
        raise SystemExit(f"{BASE}__keep-0.25 has not been run")
    raw = []
    for seed in seeds:
        cfg = resolve_experiment(f"{BASE}__keep-0.25", PRESET, seed, {"data.input": "raw", "data.clip_lens": [16]})
        dataset = UCF101Dataset(cfg, "test")
        assert cfg.data.truth is not None
        target = target_tokens(dataset, Path(cfg.data.truth), cfg.model.patch_size)
        model = pruned(cfg, None, dataset.num_classes)
        raw.append(float(kept_mask(model, dataset)[target].mean()))
    return [
        Figure("target's tokens kept at keep 0.25, minus_clip_mean, fine-tuned", kept, "share", 0.85, "higher"),
        Figure("target's tokens kept at keep 0.25, raw, fresh networks", float(np.mean(raw)), "share", 0.80, "higher"),
    ]


@torch.no_grad()
def kept_mask(model: nn.Module, dataset: UCF101Dataset) -> np.ndarray:
    """Which tokens of every window stay, [W, T, N]."""
    parts = [model(batch["video"], return_intermediate=True)[1]["token_mask"] for batch in make_loader(dataset, None)]
    return torch.cat(parts).numpy()


def speed_figures() -> list[Figure]:
    """Forward time of merging over ours at the same number of final tokens: T=8, 112 px, width 192, 12 blocks, B=8."""
    depth, first, keep = 12, 3, 0.5
    after = list(range(1, depth))
    shares = [1.0 - (1.0 - keep) * (place + 1) / len(after) for place in range(len(after))]
    arms: dict[str, dict[str, Any]] = {
        "ours": {"prune_layers": [first], "rho_target": keep},
        "once": {"prune_layers": [first], "rho_target": keep, "selector": "merge"},
        "in every block": {"prune_layers": after, "rho_target": shares, "selector": "merge"},
        "evit": {"prune_layers": [first], "rho_target": keep, "selector": "cls_attention"},
    }
    clips = torch.randn(8, 8, 3, 112, 112, generator=torch.Generator().manual_seed(1))

    def forward(ast: dict[str, Any]) -> Callable[[], object]:
        torch.manual_seed(0)
        sizes = (112, 8, 101, 192, depth, 3, 4.0, 16)
        model = VideoViT(*sizes, use_ast_prune=True, ast_cfg={"gates": False, **ast}).eval()

        def run() -> None:
            with torch.inference_mode():
                model(clips)

        return run

    seconds = interleaved_median_s({name: forward(ast) for name, ast in arms.items()}, 7)
    print("  ".join(f"{name} {1e3 * value:.1f} ms" for name, value in seconds.items()))
    return [
        Figure(f"speed over token merging {name}", seconds[name] / seconds["ours"], "x", bar, "higher")
        for name, bar in (("once", 0.97), ("in every block", 1.2))
    ]


def figures() -> list[Figure]:
    """All of them; the group of variants is made first."""
    context = make(PRESET, GROUP)
    seeds = context.preset.seeds
    return [
        *trained_figures(context),
        *untrained_figures(context.results / DENSE, seeds),
        *target_figures(context, seeds),
        *speed_figures(),
    ]


def main() -> None:
    """Take all figures on one thread and report them."""
    arguments = parse_json_flag(__doc__ or "")
    torch.set_num_threads(1)
    report(figures(), arguments.json)


if __name__ == "__main__":
    main()
