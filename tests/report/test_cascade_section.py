"""The report's section on the trained cascade, and the bound on what it loses, from small artefacts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts import write_json, write_parquet, write_yaml
from pipeline.experiments import resolve_cascade_experiment
from pipeline.report.blocks import Figure, Notice, Picker, Prose, Table
from pipeline.report.cascade_loss import balanced_accuracy_loss, balanced_scores
from pipeline.report.context import Context, read_context
from pipeline.report.rendering import svg_of
from pipeline.report.sections.cascade import section

PATIENTS, RECORDINGS, WINDOWS = ("ID1", "ID02"), 4, 30
MARGIN = {"ID1": 1.0, "ID02": None}


def predictions(patient: str, errors: float, seed: int = 0) -> pd.DataFrame:
    """Test predictions whose complex models are always right and whose simple model errs at small margins."""
    rng = np.random.default_rng([seed, len(patient)])
    rows = RECORDINGS * WINDOWS
    label = np.tile(np.arange(WINDOWS) % 3 == 0, RECORDINGS).astype(int)
    sign = 2.0 * label - 1.0
    simple = np.where(rng.random(rows) < errors, -0.5, rng.uniform(0.2, 4.0, rows)) * sign
    margin = MARGIN[patient]
    routed = np.abs(simple) <= margin if margin is not None else np.ones(rows, bool)
    table = pd.DataFrame(
        {
            "patient": patient,
            "recording": np.repeat([f"Sz{k}" for k in range(RECORDINGS)], WINDOWS),
            "start_s": np.tile(np.arange(float(WINDOWS)), RECORDINGS),
            "split": "test",
            "label": label,
            "routed": routed,
        }
    )
    for name, difference in (("simple", simple), ("complex", sign), ("only", sign)):
        table[f"{name}_0"], table[f"{name}_1"] = -difference / 2, difference / 2
    for k in (0, 1):
        table[f"logit_{k}"] = np.where(routed, table[f"complex_{k}"], table[f"simple_{k}"])
    return table


def metric_rows(calls: float) -> pd.DataFrame:
    rows = []
    for patient in (*PATIENTS, "all"):
        for arm in ("cascade", "simple", "complex", "complex_only"):
            macs = {"cascade": 6e4 + calls * 1.6e7, "simple": 6e4}.get(arm, 1.6e7)
            values = {"balanced_accuracy": 0.98, "auc": 0.99, "average_precision": 0.97, "macs_per_window": macs}
            values |= {"macs_per_window_live": macs / 4, "energy_proxy": macs * 4.6e-12, "event_sensitivity": 1.0}
            values |= {"false_alarms_per_hour": 0.0, "detection_latency": 3.0}
            if arm == "cascade":
                values |= {"call_rate": calls, "risk": 0.01, "ictal_risk": 0.0, "electrode_auc_gap": 0.001}
            rows += [(patient, arm, "test", name, value) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["patient", "arm", "split", "metric", "value"])


def write_results(results: Path, root: Path, calls: float) -> None:
    run, stages = (results / name / "seed0" for name in ("EXP-C6-evaluate", "EXP-C3-stages"))
    config = resolve_cascade_experiment("EXP-C6-evaluate", "demo", 0, {"data.root": str(root)})
    write_yaml(run / "config.yaml", config.model_dump(mode="json"))
    write_parquet(run / "metrics.parquet", metric_rows(calls))
    for patient in PATIENTS:
        margin = MARGIN[patient]
        write_parquet(run / patient / "test_predictions.parquet", predictions(patient, 0.05))
        electrodes = {"patient": patient, "channel": range(3), "auc_val": 0.9, "auc_test": [0.6, 0.99, 0.7]}
        write_parquet(
            run / patient / "electrodes.parquet", pd.DataFrame({**electrodes, "learned": [False, True, False]})
        )
        curve = {"split": "test", "margin": [np.inf, 2.0, 1.0, 0.0], "threshold": [1.0, 0.76, 0.46, 0.0]}
        curve |= {"accepted": [0.0, 0.4, 0.7, 1.0], "risk": [0.0, 0.0, 0.01, 0.05], "ictal_risk": 0.0}
        curve |= {"error_kept": [np.nan, 0.0, 0.01, 0.05], "balanced_accuracy": 0.98}
        write_parquet(run / patient / "risk_coverage.parquet", pd.DataFrame(curve))
        manifest = {"simple_model": "B", "electrode": 1, "margin": margin, "threshold": 0.46 if margin else 1.0}
        write_json(stages / patient / "cascade.json", {**manifest, "why_not_looser": "stopped at margin 0.875"})
    spans = [(p, f"Sz{k}", 5.0, 20.0) for p in PATIENTS for k in range(RECORDINGS)]
    names = ["patient", "recording", "onset_s", "offset_s"]
    write_parquet(root / "annotations.parquet", pd.DataFrame(spans, columns=names))


@pytest.fixture
def context(tmp_path) -> Context:
    write_results(tmp_path / "demo", tmp_path / "swec", calls=0.05)
    return read_context(tmp_path / "demo", "demo")


def figures_of(context: Context) -> list[Figure]:
    blocks = section(context).blocks
    pickers = [block for block in blocks if isinstance(block, Picker)]
    return [b for b in blocks if isinstance(b, Figure)] + [figure for picker in pickers for _, figure in picker.options]


def test_every_figure_becomes_a_picture_without_missing_numbers(context):
    figures = figures_of(context)
    assert [figure.name for figure in figures] == [
        "electrode-map",
        "risk-coverage",
        "cascade-routing-ID1",
        "cascade-routing-ID02",
    ]
    for figure in figures:
        json.dumps(figure.spec, allow_nan=False)
        assert svg_of(figure.spec, figure.name).startswith("<svg")
    assert "ID1: 1, 0.9900" in figures[0].description
    assert "of 30 windows handed over" in figures[2].description


def test_the_tables_compare_all_arms_and_say_why_tau_is_not_looser(context):
    tables = {block.name: block for block in section(context).blocks if isinstance(block, Table)}
    assert tables["cascade-scores"].data["arm"].tolist()[0] == "cascade"
    assert len(tables["cascade-scores"].data) == 4
    assert set(tables["cascade-patients"].data["m_why_not_looser"]) == {"stopped at margin 0.875"}


@pytest.mark.parametrize(("calls", "kind", "words"), [(0.01, "note", "reaches"), (0.5, "warning", "in doubt")])
def test_the_claim_is_made_or_refused(tmp_path, calls, kind, words):
    write_results(tmp_path / "demo", tmp_path / "swec", calls=calls)
    context = read_context(tmp_path / "demo", "demo")
    notice = next(block for block in section(context).blocks if isinstance(block, Notice))
    assert words in notice.html
    assert notice.kind == kind


def test_without_an_evaluation_the_section_names_the_command(context, tmp_path):
    blocks = section(replace(context, results=tmp_path / "nothing")).blocks
    assert isinstance(blocks[0], Prose)
    assert "EXP-C6-evaluate" in blocks[0].html


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=50))
def test_balanced_scores_have_the_balanced_accuracy_as_their_mean(rows):
    right, ictal = (np.array(column) for column in zip(*rows, strict=True))
    if ictal.all() or not ictal.any():
        return
    expected = (right[ictal].mean() + right[~ictal].mean()) / 2
    assert balanced_scores(right, ictal).mean() == pytest.approx(expected)


def test_the_loss_counts_what_the_cascade_gets_wrong_alone():
    test = pd.concat([predictions("ID1", 0.3).assign(seed=0), predictions("ID02", 0.3).assign(seed=0)])
    none_routed = test.assign(logit_0=test["simple_0"], logit_1=test["simple_1"])
    wrong = (none_routed["logit_1"] > none_routed["logit_0"]) != (test["label"] == 1)
    ictal = test["label"] == 1
    loss = balanced_accuracy_loss(none_routed)
    assert loss.loss.mean == pytest.approx((wrong[ictal].mean() + wrong[~ictal].mean()) / 2)
    assert loss.upper_bound > loss.loss.mean > 0.1
    assert not loss.holds
    assert balanced_accuracy_loss(test.assign(logit_0=test["only_0"], logit_1=test["only_1"])).holds
