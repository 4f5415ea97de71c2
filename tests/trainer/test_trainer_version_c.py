"""Version-C on a small data folder: every artefact, the same design after a kill, and errors that name the mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import pipeline.trainer.trainer_version_c as trainer
from pipeline.artifacts import read_json, read_parquet
from pipeline.codesign.design import read_design
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, DataError
from pipeline.models.build import build_model
from pipeline.models.compact import compact
from pipeline.trainer.gate_budget import flops_budget, settle_within_budget
from pipeline.trainer.hardware_term import final_ratios, total_flops
from pipeline.trainer.trainer_version_c import train_version_c

COMMON = {
    "data.truth": None,
    "model.depth": 2,
    "ast.prune_layers": [1],
    "ast.space_window_levels": [1, 2],
    "ast.time_window_levels": [1, 2],
    "ast.keep_warmup": 0.0,
    "ast.gate_warmup": 0.0,
    "ast.lambda_head": 0.0,
    "ast.lambda_ch": 0.0,
    "hw.use_hw_loss": True,
    "hw.lambda_T": 1.0,
    "hw.lambda_E": 1.0,
    "hw.lambda_chip": 0.02,
    "hw.lambda_area": 2.0,
    "hw.lambda_macs": 30.0,
    "hw.workload": {"depth": 4},
    "mapping.iterations": 1000,
    "layout.iterations": 1000,
}
FULL = COMMON | {
    "training.mode": "version_c_full",
    "hw.mode": "version_c_full",
    "chips.num_slots": 3,
    "layout.optimize_layout": True,
    "alternation": {"outer": 2, "steps_theta": 2, "steps_alpha": 3, "steps_layout": 3},
}
FIXED = COMMON | {
    "training.mode": "multi_chip_fixed",
    "hw.mode": "multi_chip_fixed",
    "chips": {"num_slots": 2, "fixed": ["big_core", "big_core"]},
    "mapping.strategy": "greedy_local",
    "alternation": {"outer": 2, "steps_theta": 2, "steps_alpha": 0, "steps_layout": 0},
}
TABLES = ("metrics", "history", "predictions", "alternation", "rivals")


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the package catches it."""


@pytest.fixture(scope="module")
def whole(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    train_version_c(resolved(data_root), out)
    return out


def resolved(data_root: Path, assignments: dict | None = None) -> RunConfig:
    """The full run on the test's data."""
    from pipeline.config import resolve_run

    settings = {
        "data.root": str(data_root),
        "data.val_groups": 1,
        "data.short_side": int(read_parquet(data_root / "manifest.parquet")["height"].iloc[0]),
        "data.image_size": 16,
        "data.clip_lens": [4, 8],
        "data.num_frames": 4,
        "data.batch_size": 4,
        "data.windows_per_video": 1,
        "data.input": "raw",
        "model.patch_size": 8,
        "model.embed_dim": 16,
        "model.num_heads": 2,
        "training.num_epochs": 3,
        "training.warmup_steps": 1,
        "training.device": "cpu",
    }
    return resolve_run("tiny", None, None, settings | FULL | (assignments or {}), experiment="EXP")


def test_a_run_leaves_a_legal_design_within_its_budgets(whole: Path):
    design = read_design(whole / "design.json")
    assert design.costs.legal
    assert design.costs.area_mm2 <= design.budgets.area_mm2
    assert design.costs.tdp_w <= design.budgets.tdp_w
    metrics = read_parquet(whole / "metrics.parquet").set_index(["split", "metric"])["value"]
    assert metrics["all", "predicted_latency"] == pytest.approx(design.costs.latency_ms)
    assert metrics["all", "flops_over_budget"] == pytest.approx(1.0, abs=0.02)
    assert {"test"} <= set(metrics.index.get_level_values("split"))


def test_the_exact_search_is_no_worse_and_equal_chips_no_better(whole: Path):
    rivals = read_parquet(whole / "rivals.parquet").set_index(["design", "library", "gates", "judged_by"])["value"]
    exact, equal = (rivals[name, "default", "final", "L_hw"] for name in ("exact", "homogeneous"))
    assert exact <= equal + 1e-9
    assert exact <= rivals["found", "default", "final", "L_hw"] + 1e-6
    leader = read_parquet(whole / "rivals.parquet").query("library == 'control' and judged_by == 'edp'")
    costs = leader.set_index("design")["edp_j_ms"]
    assert costs["exact"] <= costs["homogeneous"] + 1e-9


def test_every_step_is_told_and_c_and_d_never_lose(whole: Path):
    steps = read_parquet(whole / "alternation.parquet")
    counts = steps[steps["term"] == "L_hw"].groupby(["phase", "outer"]).size()
    assert counts["A"].tolist() == [2, 2]
    assert counts["B"].tolist() == [3, 3]
    for outer in (0, 1):
        mine = steps[(steps["outer"] == outer) & steps["phase"].isin(["C", "D"])]
        offered = mine[mine["term"] == "offered"].set_index("phase")["value"]
        accepted = mine[mine["term"] == "accepted"].set_index("phase")["value"]
        held = mine[(mine["term"] == "L_hw_hardened")].groupby("phase")["value"].last()
        for phase in offered.index:
            if accepted[phase]:
                assert held[phase] == pytest.approx(offered[phase])
            else:
                assert held[phase] < offered[phase]
    assert {"term_latency", "term_energy", "term_chips", "term_area", "term_capacity", "term_macs"} <= set(
        steps["term"]
    )


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_killed_run_ends_with_the_same_design_and_metrics(
    data_root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    """Killed in the first alternation, in the second, and in the fine-tuning that follows."""
    original = trainer.VersionCRun.train

    def dying(self, held):
        if self.state.step == step:
            raise Killed
        return original(self, held)

    cfg = resolved(data_root)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.VersionCRun, "train", dying)
        with pytest.raises(Killed):
            train_version_c(cfg, tmp_path)
    assert not (tmp_path / "metrics.parquet").exists()
    train_version_c(cfg, tmp_path)
    for name in TABLES:
        one, other = (read_parquet(folder / f"{name}.parquet") for folder in (whole, tmp_path))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert read_json(tmp_path / "design.json") == read_json(whole / "design.json")
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_fixed_chips_keep_their_places_on_the_grid(small_run, tmp_path: Path):
    train_version_c(small_run(FIXED | {"training.num_epochs": 2}), tmp_path)
    design = read_design(tmp_path / "design.json")
    assert design.chips == ["big_core", "big_core"]
    assert design.positions_mm == [(-16.0, 0.0), (16.0, 0.0)]
    phases = set(read_parquet(tmp_path / "alternation.parquet")["phase"])
    assert "B" not in phases


def test_what_cannot_be_is_told_with_the_mend(small_run, tmp_path: Path):
    with pytest.raises(ConfigError, match="lambda_area is missing"):
        small_run(FULL | {"hw.lambda_area": None})
    with pytest.raises(ConfigError, match=r"lambda_chip=-1.*greater than or equal to 0"):
        small_run(FULL | {"hw.lambda_chip": -1})
    with pytest.raises(ConfigError, match="multi_chip_fixed needs the chip of each slot"):
        small_run(FIXED | {"chips": {"num_slots": 2}})
    with pytest.raises(ConfigError, match=r"names 2 slots, but chips\.num_slots=3"):
        small_run(FIXED | {"chips.num_slots": 3})
    with pytest.raises(ConfigError, match=r"'bigcore'.*did you mean 'big_core'"):
        train_version_c(small_run(FIXED | {"chips.fixed": ["bigcore", "big_core"]}), tmp_path)
    with pytest.raises(ConfigError, match="more than the 2 training steps"):
        train_version_c(small_run(FULL | {"training.num_epochs": 1}), tmp_path)
    with pytest.raises(ConfigError, match=r"grid_pitch_mm=20: big_core needs 25 mm"):
        train_version_c(small_run(FIXED | {"layout.grid_pitch_mm": 20.0}), tmp_path)
    with pytest.raises((ConfigError, DataError), match="area_budget_mm2=50"):
        train_version_c(small_run(FULL | {"hw.area_budget_mm2": 50.0}), tmp_path)
    with pytest.raises(DataError, match="do not fit"):
        train_version_c(small_run(FIXED | {"chips.fixed": ["d1", "d1"], "hw.workload": {"batch": 400}}), tmp_path)


@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_gates_are_rounded_to_the_budget(small_run, share: float):
    cfg = small_run(FULL | {"model.embed_dim": 32, "model.mlp_ratio": 4.0})
    network = build_model(cfg, 2)
    logit = network.ast_pruner.ch_logit
    with torch.no_grad():
        logit.copy_(torch.randn(logit.shape, generator=torch.Generator().manual_seed(0)))
    ones = total_flops(cfg, final_ratios(cfg, build_model(cfg, 2))).item()
    settle_within_budget(cfg, network, share * ones)
    spent = total_flops(cfg, final_ratios(cfg, network)).item()
    assert spent / (share * ones) == pytest.approx(1.0, abs=0.005)
    assert (logit.abs() >= 0.1).all()
    order = torch.randn(logit.shape, generator=torch.Generator().manual_seed(0)).flatten().argsort()
    closed = int((logit <= 0).sum())
    assert set(order[:closed].tolist()) == set((logit.flatten() <= 0).nonzero().flatten().tolist())


def test_branches_closed_beyond_the_budget_open_again_the_last_first(small_run):
    cfg = small_run(FULL | {"model.embed_dim": 32, "model.mlp_ratio": 4.0})
    network = build_model(cfg, 2)
    dense = total_flops(cfg, final_ratios(cfg, network)).item()
    with torch.no_grad():
        network.ast_pruner.block_logit.copy_(torch.tensor([[-0.3, -0.1], [-0.4, -0.2]]))
    settle_within_budget(cfg, network, 0.5 * dense)
    opened = (network.ast_pruner.block_logit > 0).flatten().tolist()
    assert opened in ([False, True, False, False], [False, True, False, True], [True, True, False, True])
    spent = total_flops(cfg, final_ratios(cfg, network)).item()
    assert spent / (0.5 * dense) == pytest.approx(1.0, abs=0.02)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settle_within_budget(cfg, network, 0.5 * dense)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_budget_is_that_of_a_pruned_start_or_of_the_targets(small_run):
    cfg = small_run(FULL)
    network = build_model(cfg, 2)
    dense = total_flops(cfg, final_ratios(cfg, network)).item()
    assert flops_budget(cfg, network) < dense
    with torch.no_grad():
        network.ast_pruner.ch_logit[0, :4] = -1.0
    assert flops_budget(cfg, network) == pytest.approx(total_flops(cfg, final_ratios(cfg, network)).item())


def test_training_with_closed_gates_is_training_the_compacted_model(small_run):
    """What a closed gate silences gets no gradient, so the network left over learns the same."""
    cfg = small_run(FULL | {"data.batch_size": 4})
    network = build_model(cfg, 2)
    with torch.no_grad():
        network.ast_pruner.ch_logit[:, ::3] = -1.0
        network.ast_pruner.head_logit[1, 0] = -1.0
    for name in ("head_logit", "ch_logit", "block_logit"):
        getattr(network.ast_pruner, name).requires_grad_(False)
    network.set_training_progress(1.0)
    smaller = compact(network)
    clip = torch.rand(4, 4, 3, 16, 16)
    labels = torch.tensor([0, 1, 0, 1])
    for model in (network, smaller):
        model.train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(3):
            loss = torch.nn.functional.cross_entropy(model(clip), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(clip), smaller.eval()(clip), atol=1e-4, rtol=1e-4)


def test_help_and_wrong_modes_need_no_torch():
    command = [sys.executable, "-X", "importtime", "-m", "scripts.run_version_c", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "import torch" not in told.stderr
    assert "--init-from" in told.stdout
