"""The report's section on recordings, from artefacts of a small analysis and decision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import write_json, write_parquet, write_yaml
from pipeline.config.cascade import SPLITS
from pipeline.experiments import resolve_cascade_experiment
from pipeline.report.blocks import Figure, Notice, Picker, Prose, Table
from pipeline.report.context import Context, read_context
from pipeline.report.rendering import svg_of
from pipeline.report.sections.recordings import section

ELECTRODES, PATIENTS = 4, ("ID1", "ID02")


def analysis_tables(rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Every table of EXP-C1-analysis, with invented figures."""
    electrodes = pd.DataFrame({"channel": range(ELECTRODES), "rank": range(1, ELECTRODES + 1)})
    electrodes["auc"] = np.linspace(0.99, 0.5, ELECTRODES)
    electrodes = electrodes.assign(
        auc_train=0.9, best_feature="band_8_13", effect_size=1.0, key_channel=[True] + [False] * 3
    )
    histogram = pd.DataFrame([(0.9, 0.95, 0, True, 5), (0.0, 0.05, 1, False, 2)])
    pairs = [(a, b) for a in range(ELECTRODES) for b in range(a + 1, ELECTRODES)]
    redundancy = {"channels": 4.0, "effective_rank": 2.5, "components_90": 3.0, "mean_abs_correlation": 0.2}
    frequency_hz = np.arange(1.0, 101.0)
    tables = {
        "separability": electrodes,
        "difficulty": histogram.set_axis(["low", "high", "label", "right", "windows"], axis=1),
        "difficulty_summary": pd.DataFrame({"easy_share": [0.7], "windows": [7.0]}),
        "correlation": pd.DataFrame(pairs, columns=["channel_a", "channel_b"]).assign(
            correlation=lambda table: rng.uniform(-1, 1, len(table)), class_name="interictal"
        ),
        "redundancy": pd.DataFrame([{"class_name": name, **redundancy} for name in ("interictal", "ictal")]),
        "spectrum": pd.concat(
            [
                pd.DataFrame({"label": label, "frequency_hz": frequency_hz, "power_db": -10.0 * label, "channel": 0})
                for label in (0, 1)
            ]
        ).assign(low_db=-20.0, high_db=0.0),
        "bands": pd.DataFrame({"low_hz": [4.0, 8.0], "high_hz": [8.0, 13.0], "gain_db": [1.0, 12.5]}),
        "evolution": pd.DataFrame(
            [(since, 8.0, 13.0, since - 2.0, 3) for since in (0.0, 2.0, 4.0)],
            columns=["since_onset_s", "low_hz", "high_hz", "gain_db", "windows"],
        ),
    }
    return {
        name: pd.concat([table.assign(patient=patient) for patient in PATIENTS], ignore_index=True)
        for name, table in tables.items()
    }


def write_run(folder: Path, name: str, root: Path) -> None:
    config = resolve_cascade_experiment(name, "demo", 0, {"data.root": str(root)})
    write_yaml(folder / "config.yaml", config.model_dump(mode="json"))
    write_parquet(folder / "metrics.parquet", pd.DataFrame({"value": [1.0]}))


@pytest.fixture
def context(tmp_path) -> Context:
    rng = np.random.default_rng(0)
    results, root = tmp_path / "demo", tmp_path / "swec"
    counts = {"n_windows": 10, "n_ictal": 3, "n_guard": 1, "n_cluster": 0, "n_nan": 0, "n_thinned": 0}
    rows = [
        {
            "patient": patient,
            "recording": f"Sz{number}",
            "split": split,
            "duration_s": 60.0,
            "status": "ok",
            "message": "",
        }
        | counts
        for patient in PATIENTS
        for number, split in enumerate(SPLITS)
    ]
    bad = {"patient": "ID1", "recording": "Sz9", "split": "", "status": "bad", "message": "is cut short"}
    write_parquet(root / "recordings.parquet", pd.DataFrame([*rows, bad | dict.fromkeys(counts, 0)]))
    channels = pd.DataFrame({"patient": "ID1", "name": list("abcd"), "usable": [True, True, True, False]})
    write_parquet(root / "channels.parquet", channels.assign(reason=["", "", "", "flat in Sz1"]))
    analysis, decision = (results / name / "seed0" for name in ("EXP-C1-analysis", "EXP-C2-decide"))
    for name, table in analysis_tables(rng).items():
        write_parquet(analysis / "tables" / f"{name}.parquet", table)
    write_run(analysis, "EXP-C1-analysis", root)
    candidate = {"macs": 518, "parameters": 14, "auc": 0.99, "auc_std": 0.0, "coverage": 0.4, "coverage_std": 0.0}
    document = {
        "worthwhile": False,
        "statement": "cascade not worthwhile: less than 50% of the windows",
        "rule": "the cheapest",
        "candidates": [{"candidate": "C", **candidate, "reason": "chosen"}],
        "seeds": [0],
    }
    write_json(decision / "decision.json", document)
    curve = {"candidate": "C", "seed": 0, "margin": [2.0, 1.0], "coverage": [0.5, 1.0], "risk": [0.0, 0.1]}
    write_parquet(decision / "risk_coverage.parquet", pd.DataFrame(curve))
    write_run(decision, "EXP-C2-decide", root)
    return read_context(results, "demo")


def test_the_section_shows_what_was_read_found_and_decided(context):
    blocks = section(context).blocks
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    assert set(tables) == {"recordings", "recordings-left-out", "simple-candidates"}
    assert tables["recordings-left-out"].data["reason"].tolist() == ["is cut short", "flat in Sz1"]
    assert tables["recordings"].data["n_windows"].sum() == 80
    notices = [block for block in blocks if isinstance(block, Notice)]
    assert [notice.kind for notice in notices] == ["warning"]
    assert "not worthwhile" in notices[0].html


def test_every_figure_becomes_a_picture_and_says_its_finding(context):
    figures = [block for block in section(context).blocks if isinstance(block, Figure)]
    pickers = [block for block in section(context).blocks if isinstance(block, Picker)]
    assert [[name for name, _ in picker.options] for picker in pickers] == [list(PATIENTS)] * 2
    figures += [figure for picker in pickers for _, figure in picker.options]
    assert len({figure.name for figure in figures}) == len(figures) == 7
    for figure in figures:
        assert svg_of(figure.spec, figure.name).startswith("<svg")
    said = " ".join(figure.description for figure in figures)
    assert "ID1: electrode 0, 0.990" in said
    assert "8–13 Hz changes most, by +12.5 dB" in said
    assert "effective rank 2.5 of 4 electrodes" in said


def test_the_cascade_does_not_disturb_the_video_experiments(context):
    assert context.finished == ()


def test_without_an_analysis_the_section_names_the_command(context, tmp_path):
    blocks = section(replace(context, results=tmp_path / "nothing")).blocks
    assert isinstance(blocks[0], Prose)
    assert "snakemake --cores all EXP-C1-analysis" in blocks[0].html
