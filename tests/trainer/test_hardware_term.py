"""Hardware in the loop: gates become ratios, the budget is that of uniform gates, and training follows the price."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from pipeline.artifacts import read_json
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.hw_proxy.workload import KeepRatios
from pipeline.models.build import build_model
from pipeline.trainer.hardware_term import (
    design_of,
    final_ratios,
    hardware_term,
    keep_ratios,
    total_flops,
    uniform_gates,
)
from pipeline.trainer.trainer_single_device import train_single_device
from tests.trainer.priced import BUDGET, HW


def gates(depth: int = 2, heads: int = 2, hidden: int = 4) -> dict[str, torch.Tensor]:
    return {
        "keep_ratio": torch.tensor([0.5]),
        "head": torch.ones(depth, heads, requires_grad=True),
        "channel": torch.ones(depth, hidden, requires_grad=True),
        "block": torch.ones(depth, 2, requires_grad=True),
    }


def test_ratios_are_the_shares_of_open_gates():
    values = gates()
    with torch.no_grad():
        values["head"][1, 0] = 0.0
        values["channel"][0] = 0.0
        values["block"][1, 1] = 0.0
    ratios = keep_ratios(values, [1], 2)
    assert ratios.tokens.tolist() == [1.0, 0.5]
    assert ratios.heads.tolist() == [1.0, 0.5]
    assert ratios.channels.tolist() == [0.0, 1.0]
    assert ratios.attention.tolist() == [1.0, 1.0]
    assert ratios.mlp.tolist() == [0.0, 0.0]


def test_soft_gates_above_one_count_as_one_and_keep_their_gradient():
    values = gates()
    with torch.no_grad():
        values["head"] += 0.04
    ratios = keep_ratios(values, [1], 2)
    assert ratios.heads.tolist() == [1.0, 1.0]
    ratios.heads.sum().backward()
    assert values["head"].grad is not None
    assert (values["head"].grad == 0.5).all()


def test_every_gate_has_a_price_and_the_budget_pulls_both_ways(small_run):
    cfg: RunConfig = small_run(HW | {"hw.lambda_macs": 5.0, "hw.lambda_T": 0.0, "model.depth": 2})
    term = hardware_term(cfg, None)
    for ramp, direction in ((1.0, 1.0), (0.0, -1.0)):
        values = gates()
        with torch.no_grad():
            values["head"] *= 0.9
        loss, stats = term.loss(values, ramp)
        loss.backward()
        assert (stats["flops_over_budget"] - 1.0) * direction > 0.0
        assert all((torch.sign(values[name].grad) == direction).all() for name in ("head", "channel", "block"))


def test_uniform_gates_at_the_targets_spend_exactly_the_budget(small_run):
    cfg: RunConfig = small_run(HW | {"ast.target_block": 0.1})
    tokens = torch.full((cfg.model.depth,), 0.5)
    budget = uniform_gates(cfg, tokens, 1.0)
    assert budget.heads.tolist() == pytest.approx([1.0 - cfg.ast.target_head] * cfg.model.depth)
    assert float(total_flops(cfg, budget)) < float(total_flops(cfg, uniform_gates(cfg, tokens, 0.0)))


def test_a_fitted_proxy_must_be_given(small_run):
    with pytest.raises(ConfigError, match="--proxy DIR"):
        hardware_term(small_run(HW | {"hw.proxy": "fitted"}), None)


def test_a_dense_network_keeps_everything(small_run):
    cfg: RunConfig = small_run()
    network = build_model(cfg, 2)
    assert final_ratios(cfg, network).heads.tolist() == [1.0] * cfg.model.depth
    assert set(design_of(cfg, network, None)) == {"keep"}


def test_training_with_hardware_lowers_the_predicted_latency_and_repeats_exactly(small_run, tmp_path: Path):
    settings = HW | {"loss.lambda_hw": 3.0, "training.num_epochs": 6, "ast.lambda_head": 0.0, "ast.lambda_ch": 0.0}
    priced: RunConfig = small_run(settings)
    for name in ("a", "b"):
        train_single_device(priced, tmp_path / name)
    histories = [pd.read_parquet(tmp_path / name / "history.parquet") for name in ("a", "b")]
    pd.testing.assert_frame_equal(*histories)
    latency = histories[0].query("metric == 'predicted_latency'")["value"].to_numpy()
    assert latency[-1] < 0.9 * latency[0]
    design = read_json(tmp_path / "a" / "design.json")
    assert design["latency_ms"] < design["dense"]["latency_ms"]
    assert isinstance(hardware_term(priced, None).proxy, RooflineProxy)


@pytest.mark.parametrize("lambda_hw", [0.0, 1.0, 10.0])
def test_a_design_spends_its_budget_however_the_gates_went(small_run, tmp_path: Path, lambda_hw: float):
    """The least gate that closes is a channel: no design may be further from the budget than one of them costs."""
    cfg: RunConfig = small_run(BUDGET | {"loss.lambda_hw": lambda_hw, "training.num_epochs": 3})
    train_single_device(cfg, tmp_path)
    keep = KeepRatios(
        **{name: torch.tensor(values) for name, values in read_json(tmp_path / "design.json")["keep"].items()}
    )
    budget = total_flops(cfg, uniform_gates(cfg, keep.tokens, 1.0)).item()
    fewer = replace(keep, channels=keep.channels - 1.0 / (cfg.model.mlp_ratio * cfg.model.embed_dim))
    channel = (total_flops(cfg, keep) - total_flops(cfg, fewer)).item()
    assert abs(total_flops(cfg, keep).item() - budget) <= channel


def test_a_kind_with_a_target_of_its_own_keeps_it(small_run, tmp_path: Path):
    cfg: RunConfig = small_run(BUDGET | {"ast.lambda_ch": 10.0, "training.num_epochs": 3})
    train_single_device(cfg, tmp_path)
    channels = torch.tensor(read_json(tmp_path / "design.json")["keep"]["channels"])
    assert 1.0 - channels.mean().item() == pytest.approx(cfg.ast.target_ch, abs=0.02)
