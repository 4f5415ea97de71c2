"""Training learns, repeats itself, survives a kill, and refuses what cannot work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import pipeline.trainer.trainer_single_device as trainer
from pipeline.artifacts import read_parquet
from pipeline.errors import ConfigError, DataError
from pipeline.trainer.trainer_single_device import train_single_device
from pipeline.trainer.training_run import data_files, task_loss
from tests.trainer.priced import BUDGET

AUDIO = {"data.use_audio": True, "training.use_audio": True}
RESULTS = ("metrics", "history", "predictions")


def tables(out: Path) -> list[pd.DataFrame]:
    return [read_parquet(out / f"{name}.parquet") for name in RESULTS]


def assert_same_results(one: Path, other: Path) -> None:
    for a, b in zip(tables(one), tables(other), strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the package catches it."""


def train_and_kill(cfg, out: Path, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and die at the start of `epoch`."""
    original = trainer._train_epoch

    def dying(run, state) -> None:
        if state.epoch == epoch:
            raise Killed
        original(run, state)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_train_epoch", dying)
        with pytest.raises(Killed):
            train_single_device(cfg, out)


def test_learns_what_colour_tells(small_run, tmp_path: Path) -> None:
    train_single_device(small_run({"training.num_epochs": 15}), tmp_path)
    metrics = read_parquet(tmp_path / "metrics.parquet").set_index(["split", "metric"])["value"]
    assert metrics["test", "video_top1"] == 1.0
    history = read_parquet(tmp_path / "history.parquet").query("metric == 'train_loss'")["value"]
    assert history.iloc[-1] < 0.7 * history.iloc[0]


@pytest.mark.parametrize(
    "settings", [{}, AUDIO | {"model.fusion": "late"}, AUDIO | {"model.fusion": "early", "model.drop_rate": 0.1}]
)
def test_same_config_same_results(small_run, tmp_path: Path, settings: dict) -> None:
    for name in ("a", "b"):
        train_single_device(small_run(settings), tmp_path / name)
    assert_same_results(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [{"training.early_stop_patience": 2}, AUDIO | {"model.fusion": "early", "model.drop_rate": 0.1}, BUDGET],
)
def test_a_killed_run_ends_as_if_it_had_not_been(
    small_run, tmp_path: Path, monkeypatch, epoch: int, settings: dict
) -> None:
    cfg = small_run(settings)
    train_single_device(cfg, tmp_path / "whole")
    train_and_kill(cfg, tmp_path / "killed", epoch, monkeypatch)
    assert not (tmp_path / "killed" / "metrics.parquet").exists()
    train_single_device(cfg, tmp_path / "killed")
    assert_same_results(tmp_path / "whole", tmp_path / "killed")


def test_a_checkpoint_of_another_config_is_not_resumed(small_run, tmp_path: Path, monkeypatch) -> None:
    train_and_kill(small_run({"training.lr": 0.5}), tmp_path / "mixed", 2, monkeypatch)
    train_single_device(small_run(), tmp_path / "mixed")
    train_single_device(small_run(), tmp_path / "clean")
    assert_same_results(tmp_path / "clean", tmp_path / "mixed")


def test_early_stopping_keeps_the_best_validation(small_run, tmp_path: Path) -> None:
    settings = {"training.early_stop_patience": 1, "training.eval_every_epochs": 1, "training.num_epochs": 30}
    train_single_device(small_run(settings | {"training.lr": 0.2}), tmp_path)
    history = read_parquet(tmp_path / "history.parquet").query("metric == 'video_nll'")
    final = read_parquet(tmp_path / "metrics.parquet").query("split == 'val' and metric == 'video_nll'")["value"].item()
    assert len(history) < 30
    assert final == pytest.approx(history["value"].min())


def test_evaluation_only_run_repeats_the_metrics_of_its_origin(small_run, tmp_path: Path) -> None:
    train_single_device(small_run(), tmp_path / "origin")
    cfg = small_run({"training.num_epochs": 0})
    train_single_device(cfg, tmp_path / "again", tmp_path / "origin" / "model.safetensors")
    a, b = (read_parquet(tmp_path / name / "metrics.parquet") for name in ("origin", "again"))
    np.testing.assert_array_equal(a["value"], b["value"])


def test_metrics_hold_no_clocks_and_costs_do(small_run, tmp_path: Path) -> None:
    train_single_device(small_run(), tmp_path)
    assert set(read_parquet(tmp_path / "metrics.parquet")["unit"]) <= {"share", "nat", "1"}
    cost = read_parquet(tmp_path / "cost.parquet").set_index("metric")["value"]
    assert (
        cost[["parameters", "macs_per_clip", "train_throughput", "eval_throughput", "train_time", "peak_memory"]] > 0
    ).all()


def test_errors_name_the_mend(small_run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set init_from"):
        train_single_device(small_run({"training.num_epochs": 0}), tmp_path)
    with pytest.raises(ConfigError, match=r"data\.val_groups"):
        train_single_device(small_run({"training.early_stop_patience": 1, "data.val_groups": 0}), tmp_path)
    with pytest.raises(DataError, match="start weights are missing"):
        train_single_device(small_run(), tmp_path, tmp_path / "absent.safetensors")
    train_single_device(small_run({"model.embed_dim": 32}), tmp_path / "wide")
    with pytest.raises(DataError, match="do not fit this model"):
        train_single_device(small_run(), tmp_path / "x", tmp_path / "wide" / "model.safetensors")


def test_damaged_start_weights_and_a_diverging_loss_are_told(small_run, tmp_path: Path) -> None:
    (tmp_path / "half.safetensors").write_bytes(b"half of a file")
    with pytest.raises(DataError, match=r"half\.safetensors"):
        train_single_device(small_run(), tmp_path / "x", tmp_path / "half.safetensors")
    with pytest.raises(ConfigError, match=r"training\.lr=1e\+30.*the loss became"):
        train_single_device(small_run({"training.lr": 1e30, "training.grad_clip": 1e30}), tmp_path / "y")


def test_a_resumed_log_tells_all_epochs(small_run, tmp_path: Path, monkeypatch, capsys) -> None:
    train_and_kill(small_run(), tmp_path, 2, monkeypatch)
    capsys.readouterr()
    train_single_device(small_run(), tmp_path)
    lines = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert lines == ["1/4", "2/4", "3/4", "4/4"]


def test_splits_by_time_are_said_in_the_metrics(small_run, tmp_path: Path) -> None:
    train_single_device(small_run({"data.splits": "by_time"}), tmp_path)
    assert set(read_parquet(tmp_path / "metrics.parquet")["note"]) == {"same videos in all splits, cut in time"}


def test_a_run_is_identified_by_every_table_and_list_it_reads(small_run, data_root: Path) -> None:
    cfg = small_run(AUDIO)
    before = data_files(cfg)
    assert {path.name for path in before} == {
        "manifest.parquet",
        "audio.parquet",
        "classInd.txt",
        "trainlist01.txt",
        "testlist01.txt",
    }
    assert data_root / "audio.parquet" not in data_files(small_run())


def test_task_loss_is_the_weighted_mean_of_each_net() -> None:
    logits = torch.randn(4, 3)
    labels = torch.tensor([0, 1, 2, 0])
    ones, some, none = torch.ones(4), torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.zeros(4)
    plain = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    half = torch.nn.functional.cross_entropy(logits[::2], labels[::2], label_smoothing=0.1)
    assert torch.allclose(task_loss([(logits, ones)], labels, 0.1), plain)
    assert torch.allclose(task_loss([(logits, ones), (logits, some)], labels, 0.1), plain + half)
    assert torch.allclose(task_loss([(logits, ones), (logits, none)], labels, 0.1), plain)
