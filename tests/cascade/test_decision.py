"""The written rule, and the decision on generated recordings."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.cascade.analysis import analyse, best_electrode
from pipeline.cascade.cascade_training import simple_variant
from pipeline.cascade.decision import choose, decide
from pipeline.config.cascade import CascadeDecisionConfig
from pipeline.config.cascade_loading import resolve_cascade
from pipeline.config.loading import PROJECT_ROOT
from pipeline.data.demo_ieeg import write_demo_patient
from pipeline.data.ieeg_layout import demo_patient_names
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.data.swec import build_patient, join_patients
from pipeline.errors import DataError

RULE = CascadeDecisionConfig()


def candidates(**changes):
    table = pd.DataFrame(
        {
            "candidate": ["A", "A_lite", "B", "C"],
            "macs": [190_960, 62_712, 82_192, 518],
            "parameters": [10_434, 2_786, 140, 14],
            "auc": [0.99, 0.985, 0.99, 0.9],
            "coverage": [0.9, 0.9, 0.9, 0.4],
        }
    )
    for name, values in changes.items():
        table[name] = values
    return table


def test_the_cheapest_near_the_best_is_chosen():
    choice = choose(candidates(), RULE)
    assert (choice.simple_model, choice.worthwhile) == ("A_lite", True)
    reasons = choice.candidates.set_index("candidate")["reason"]
    assert reasons["C"] == "AUC too far below the best"
    assert reasons["A"] == reasons["B"] == "dearer than the chosen one"


def test_ties_of_cost_go_to_fewer_parameters():
    assert choose(candidates(macs=[100, 100, 100, 100], auc=0.99, coverage=0.9), RULE).simple_model == "C"


def test_too_little_coverage_disqualifies_although_the_auc_is_near():
    choice = choose(candidates(coverage=[0.9, 0.87, 0.89, 0.9]), RULE)
    assert choice.simple_model == "B"
    reasons = choice.candidates.set_index("candidate")["reason"]
    assert reasons["A_lite"] == "coverage too far below the best"


def test_a_loss_equal_to_the_margin_is_allowed():
    assert (
        choose(candidates(auc=[0.99, 0.98, 0.97, 0.9], coverage=[0.9, 0.88, 0.9, 0.9]), RULE).simple_model == "A_lite"
    )


def test_without_a_candidate_near_both_the_most_accurate_is_taken():
    choice = choose(candidates(auc=[0.99, 0.9, 0.9, 0.9], coverage=[0.2, 0.9, 0.9, 0.9]), RULE)
    assert choice.simple_model == "A"
    assert not choice.worthwhile


def test_low_coverage_says_that_a_cascade_is_not_worthwhile():
    choice = choose(candidates(coverage=[0.45, 0.45, 0.45, 0.1]), RULE)
    assert not choice.worthwhile
    assert choice.statement.startswith("cascade not worthwhile: less than 50%")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Tiny recordings, a baseline that knows the labels but for some noise, and the analysis of both."""
    root = tmp_path_factory.mktemp("cascade")
    assignments = {"data.root": str(root / "data"), "decision.seeds": [0, 1], "decision.num_epochs": 5}
    cfg = resolve_cascade("tiny", PROJECT_ROOT / "configs/swec_cascade.yaml", None, assignments, experiment="EXP-C2")
    names = demo_patient_names(cfg.demo.patients)
    for name in names:
        write_demo_patient(root / "raw", cfg.demo, name)
        build_patient(root / "raw" / "recordings", name, cfg.data)
    join_patients(root / "raw" / "recordings", root / "data", names)
    rng = np.random.default_rng(0)
    for name in names:
        parts = [IeegWindows(root / "data", name, split).index for split in ("val", "test")]
        table = pd.concat(parts)
        table["p_ictal"] = 1 / (1 + np.exp(-(8 * (table["label"] - 0.5) + rng.normal(0, 2, len(table)))))
        path = root / "baseline" / name / "predictions.parquet"
        path.parent.mkdir(parents=True)
        table.to_parquet(path)
    analyse(cfg, root / "baseline", root / "analysis")
    return root, cfg, names


def test_the_analysis_finds_the_focus_of_each_patient(world):
    root, _, names = world
    separable = pd.read_parquet(root / "analysis" / "tables" / "separability.parquet")
    for name in names:
        truth = pd.read_parquet(root / "raw" / "truth" / f"{name}.parquet").set_index("channel")
        assert truth["best"][best_electrode(separable, name)]
        own = separable.query("patient == @name").set_index("channel")["auc"]
        decoys = [channel for channel in own.index if not truth["informative"][channel]]
        assert own[decoys].max() < own.max() - 0.1


def test_the_analysis_writes_every_table_for_every_patient(world):
    root, _, names = world
    tables = {path.stem: pd.read_parquet(path) for path in (root / "analysis" / "tables").glob("*.parquet")}
    assert set(tables) == {
        "separability",
        "difficulty",
        "difficulty_summary",
        "correlation",
        "redundancy",
        "spectrum",
        "bands",
        "evolution",
    }
    assert all(set(table["patient"]) == set(names) for table in tables.values())
    val = pd.read_parquet(root / "data" / "index.parquet").query("split == 'val'")
    assert tables["difficulty"]["windows"].sum() == len(val)


def test_the_decision_is_one_that_the_training_can_read(world):
    root, cfg, names = world
    decide(cfg, root / "analysis", root / "decision")
    document = json.loads((root / "decision" / "decision.json").read_text())
    assert list(document["patients"]) == names
    assert simple_variant(cfg, names[0], root / "decision" / "decision.json") == document["simple_model"]
    assert document["seeds"] == [0, 1]
    assert len(document["candidates"]) == 4
    assert document["worthwhile"] == (
        max(row["coverage"] for row in document["candidates"] if row["reason"] == "chosen") >= 0.5
    )
    curves = pd.read_parquet(root / "decision" / "risk_coverage.parquet")
    assert curves.groupby(["candidate", "seed"])["coverage"].max().eq(1.0).all()
    first = (root / "decision" / "decision.json").read_bytes()
    decide(cfg, root / "analysis", root / "decision")
    assert (root / "decision" / "decision.json").read_bytes() == first


def test_missing_inputs_are_errors_that_name_the_experiment_to_make(world, tmp_path):
    root, cfg, _ = world
    with pytest.raises(DataError, match=r"predictions\.parquet: no such file; make EXP-C0-baseline first"):
        analyse(cfg, tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"separability\.parquet: no such file"):
        decide(cfg, tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="no row of patient ID9"):
        best_electrode(pd.read_parquet(root / "analysis" / "tables" / "separability.parquet"), "ID9")
