"""Training with the pruner: resumes exactly, starts from dense weights, reaches its targets, tells what it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import pipeline.trainer.trainer_single_device as trainer
from pipeline.artifacts import read_parquet, write_parquet
from pipeline.errors import DataError
from pipeline.models.build import build_model
from pipeline.models.compact import load_compacted
from pipeline.trainer.trainer_single_device import train_single_device

AST = {
    "training.mode": "single_device_ast",
    "data.truth": None,
    "model.depth": 2,
    "ast.prune_layers": [1],
    "ast.space_window_levels": [1, 2],
    "ast.time_window_levels": [1, 2],
}
DENSE = {"model.depth": 2}
SOUND = {"data.use_audio": True, "training.use_audio": True}
JOINT = AST | SOUND | {"model.fusion": "early", "ast.audio": "gate"}


def values(out: Path, table: str = "metrics") -> dict[str, float]:
    rows = read_parquet(out / f"{table}.parquet")
    rows = rows[rows["split"] == ("test" if table == "metrics" else "all")]
    return dict(zip(rows["metric"], rows["value"], strict=True))


def assert_same_results(one: Path, other: Path) -> None:
    for name in ("metrics", "history", "predictions"):
        a, b = (read_parquet(folder / f"{name}.parquet") for folder in (one, other))
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    for name in ("model", "compact"):
        assert (one / f"{name}.safetensors").read_bytes() == (other / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize(
    "settings", [AST, JOINT, AST | SOUND | {"model.fusion": "late"}, AST | {"ast.learn_keep": True}]
)
def test_same_config_same_results(small_run, tmp_path: Path, settings: dict) -> None:
    for name in ("a", "b"):
        train_single_device(small_run(settings), tmp_path / name)
    assert_same_results(tmp_path / "a", tmp_path / "b")


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("settings", [AST | {"ast.selector": "random"}, JOINT])
def test_a_killed_run_ends_as_if_it_had_not_been(
    small_run, tmp_path: Path, monkeypatch, epoch: int, settings: dict
) -> None:
    cfg = small_run(settings)
    train_single_device(cfg, tmp_path / "whole")
    original = trainer._train_epoch

    def dying(run, state) -> None:
        if state.epoch == epoch:
            raise Killed
        original(run, state)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_train_epoch", dying)
        with pytest.raises(Killed):
            train_single_device(cfg, tmp_path / "killed")
    train_single_device(cfg, tmp_path / "killed")
    assert_same_results(tmp_path / "whole", tmp_path / "killed")


def test_metrics_history_and_costs_tell_what_was_pruned(small_run, tmp_path: Path) -> None:
    train_single_device(small_run(AST | {"ast.target_head": 0.25, "ast.target_ch": 0.5}), tmp_path)
    metrics = values(tmp_path)
    assert metrics["kept_tokens"] == pytest.approx(0.5)
    assert metrics["sparsity_token"] == pytest.approx(0.5)
    assert abs(metrics["sparsity_head"] - 0.25) <= 1 / 4 / 2
    assert abs(metrics["sparsity_ch"] - 0.5) <= 0.03
    assert metrics["sparsity_block"] == 0.0
    assert "target_tokens_kept" not in metrics
    history = read_parquet(tmp_path / "history.parquet")
    names = set(history["metric"])
    assert {"ast_loss", "sparsity_head", "sparsity_head/block0", "sparsity_ch/block1", "sparsity_token/block1"} <= names
    final = history[history["metric"] == "sparsity_ch"]["value"].iloc[-1]
    assert final == pytest.approx(metrics["sparsity_ch"])
    cost = values(tmp_path, "cost")
    assert cost["compact_macs_per_clip"] < cost["macs_per_clip"]
    assert cost["compact_parameters"] < cost["parameters"]
    assert cost["compact_difference"] <= 1e-5
    assert cost["compact_forward_time"] > 0
    assert cost["forward_time"] > 0


def test_the_compacted_model_of_a_run_is_its_model(small_run, tmp_path: Path) -> None:
    cfg = small_run(AST | {"ast.target_ch": 0.5})
    train_single_device(cfg, tmp_path)
    model = build_model(cfg, 2).eval()
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    clips = torch.randn(3, 4, 3, 16, 16)
    smaller = load_compacted(tmp_path / "compact.safetensors", model)
    with torch.no_grad():
        assert (smaller(clips) - model(clips)).abs().max() <= 1e-5
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


def test_dense_weights_are_a_start_and_only_a_pruner_may_be_missing(small_run, tmp_path: Path) -> None:
    train_single_device(small_run(DENSE), tmp_path / "dense")
    start = tmp_path / "dense" / "model.safetensors"
    unpruned = AST | {"ast.rho_target": 1.0, "training.num_epochs": 0}
    train_single_device(small_run(unpruned), tmp_path / "open", start)
    for name in ("clip_top1", "video_nll"):
        assert values(tmp_path / "open")[name] == pytest.approx(values(tmp_path / "dense")[name], abs=1e-6)
    with pytest.raises(DataError, match="do not fit this model"):
        train_single_device(
            small_run(AST | {"model.pool": "mean", "model.depth": 1, "ast.prune_layers": [0]}), tmp_path / "x", start
        )
    train_single_device(small_run(AST), tmp_path / "pruned", start)
    with pytest.raises(DataError, match="do not fit this model"):
        train_single_device(small_run(DENSE), tmp_path / "y", tmp_path / "pruned" / "model.safetensors")


def test_gates_rest_after_they_freeze_and_weights_go_on(small_run, tmp_path: Path, monkeypatch) -> None:
    seen: list[tuple[float, torch.Tensor, torch.Tensor]] = []
    original = trainer._train_step

    def watching(run, batch, lr, step, total_steps):
        result = original(run, batch, lr, step, total_steps)
        pruner = run.network.ast_pruner
        weight = run.network.transformer.head.weight
        seen.append((step / total_steps, pruner.ch_logit.detach().clone(), weight.detach().clone()))
        return result

    monkeypatch.setattr(trainer, "_train_step", watching)
    train_single_device(small_run(AST | {"ast.gate_freeze": 0.5}), tmp_path)
    frozen = [entry for entry in seen if entry[0] >= 0.5]
    assert len(frozen) >= 3
    assert all(torch.equal(entry[1], frozen[0][1]) for entry in frozen)
    assert not torch.equal(frozen[0][2], frozen[-1][2])
    assert not torch.equal(seen[0][1], frozen[0][1])


def test_without_gates_there_is_nothing_to_compact(small_run, tmp_path: Path) -> None:
    train_single_device(small_run(AST | {"ast.gates": False}), tmp_path)
    assert not (tmp_path / "compact.safetensors").exists()
    assert "sparsity_head" not in values(tmp_path)
    assert values(tmp_path)["kept_tokens"] == pytest.approx(0.5)


def test_truth_scores_the_kept_tokens(small_run, data_root: Path, tmp_path: Path) -> None:
    """A target that fills the frame is kept as often as anything; one that rests does not count."""
    manifest = read_parquet(data_root / "manifest.parquet")
    boxes = {"x0": 0.0, "y0": 0.0, "x1": 24.0, "y1": 20.0}
    rows = [
        {"video_id": video, "frame": frame, "moving": True, **boxes}
        for video in manifest["video_id"]
        for frame in range(12)
    ]
    write_parquet(tmp_path / "truth.parquet", pd.DataFrame(rows))
    cfg = small_run(AST | {"data.truth": str(tmp_path / "truth.parquet"), "training.num_epochs": 1})
    train_single_device(cfg, tmp_path / "run")
    assert values(tmp_path / "run")["target_tokens_kept"] == pytest.approx(0.5)
    write_parquet(tmp_path / "truth.parquet", pd.DataFrame(rows).assign(moving=False))
    train_single_device(cfg, tmp_path / "resting")
    assert "target_tokens_kept" not in values(tmp_path / "resting")
    write_parquet(tmp_path / "truth.parquet", pd.DataFrame(rows[:12]))
    with pytest.raises(DataError, match="lacks frames of"):
        train_single_device(cfg, tmp_path / "x")


def test_loss_weight_of_zero_leaves_gates_to_the_task(small_run, tmp_path: Path) -> None:
    train_single_device(
        small_run(AST | {"loss.lambda_AST": 0.0, "ast.lambda_ch": 0.0, "ast.lambda_head": 0.0}), tmp_path
    )
    assert np.isfinite(values(tmp_path)["sparsity_ch"])
    assert values(tmp_path)["sparsity_ch"] < 0.25
