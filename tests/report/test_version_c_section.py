"""The section on several chips: complete where designs are, silent about what was not run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.synthetic_results import World, fabricate
from pipeline.artifacts import read_parquet, write_parquet
from pipeline.codesign.design import (
    Design,
    DesignBudgets,
    DesignCosts,
    DesignHeat,
    DesignLink,
    DesignPricing,
    DesignRegion,
    DesignSegment,
    read_design,
    write_design,
)
from pipeline.report.blocks import Figure, Html, Notice, Picker, Prose, Section, Table
from pipeline.report.context import read_context
from pipeline.report.rendering import svg_of
from pipeline.report.sections import version_c
from pipeline.report.version_c_comparisons import unbeaten
from pipeline.report.version_c_pictures import gantt_of, wafer_of

EXPERIMENTS = (
    "EXP-P2-1-fixed4-grid",
    "EXP-P2-2-fixed4-mapping",
    "EXP-P2-3-fixed4-mapping-layout",
    "EXP-P3-1-full-vc",
    "EXP-P3-1-full-vc__no-polish",
    "EXP-P3-1-full-vc__area-1200",
)


def made_up(number: int, parent: int | None = None) -> Design:
    """Three segments on an a100 and an l4; period 10 ms plus the number."""
    segments = [
        DesignSegment(k, slot, [k], None, 1e7, 5e7, 4e7, latency, 80.0, [])
        for k, (slot, latency) in enumerate(((0, 6.0), (2, 9.0 + number), (0, 3.0)))
    ]
    if parent is not None:
        segments = [replace(segments[0], parent_id=parent), *segments[1:]]
    costs = DesignCosts(
        10.0 + number, 10.0 + number, 20.0, 0.4, 5.0, 4.0, 0.1, 0.9, 50.0 + 5 * number, 70.0, 1120.0, 322.0, 2,
        900.0 - 100.0 * number, 60.0, True,
    )  # fmt: skip
    return Design(
        chips=["a100", None, "l4"],
        positions_mm=[(-12.0, 0.0), None, (12.0, 0.0)],
        objective="balanced",
        segments=segments,
        link=DesignLink(0.0005, 256.0, 1.0, 32.0),
        region=DesignRegion("circle", 150.0, 150.0, 0.5),
        heat=DesignHeat(40.0, 85.0, 30.0, 2.0, 0.05),
        budgets=DesignBudgets(2400.0, 1400.0, 0.9),
        pricing=DesignPricing("given"),
        costs=costs,
        notes={"L_hw": -0.3, "mapping_certificate": {"lower_bound_ms": 9.5}, "latency_interval": {"mid_ms": 10.0}},
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Six finished runs of two seeds with made-up designs, alternations and rivals."""
    accuracy = {name: 0.7 + 0.02 * number for number, name in enumerate(EXPERIMENTS)}
    root = fabricate(tmp_path / "demo", World(accuracy=accuracy))
    for number, name in enumerate(EXPERIMENTS):
        for seed in (0, 1):
            folder = root / name / f"seed{seed}"
            write_design(folder / "design.json", made_up(number))
            steps = [
                (outer, phase, step, term, 0.5 - 0.1 * outer - 0.01 * step)
                for outer in (0, 1)
                for phase, count in (("A", 3), ("B", 4), ("C", 1), ("D", 2))
                for step in range(count)
                for term in ("L_hw", "L_hw_hardened", "term_latency", "term_energy")
            ]
            columns = ["outer", "phase", "step", "term", "value"]
            write_parquet(folder / "alternation.parquet", pd.DataFrame(steps, columns=columns))
            rivals = [
                (design, library, "final", "edp", chips, 10.0, 5.0, edp, 2, 1000.0, 300.0, 1.0, 9, 3)
                for library, best in (("default", 48.0), ("control", 30.0))
                for design, chips, edp in (("exact", "a100 + l4", best), ("homogeneous", "3 l4", 100.0 * best / 48.0))
            ]
            names = ["design", "library", "gates", "judged_by", "chips", "latency_ms", "energy_j", "edp_j_ms"]
            names += ["num_chips", "area_mm2", "tdp_w", "value", "sets", "mapped"]
            write_parquet(folder / "rivals.parquet", pd.DataFrame(rivals, columns=names))
            told = {"energy_delay_product": 50.0 + 5 * number + seed, "soft_hard_gap": 0.01, "flops_over_budget": 1.001}
            extra = [(name, seed, "all", metric, value, "1") for metric, value in told.items()]
            table = read_parquet(folder / "metrics.parquet")
            added = pd.DataFrame(extra, columns=["experiment", "seed", "split", "metric", "value", "unit"])
            write_parquet(folder / "metrics.parquet", pd.concat([table, added], ignore_index=True))
    return root


def of_kind(section: Section, kind: type) -> list:
    return [block for block in section.blocks if isinstance(block, kind)]


def test_designs_parts_and_fronts_are_shown(results: Path):
    section = version_c.section(read_context(results))
    designs = next(block for block in of_kind(section, Table) if block.name == "version_c_designs")
    assert designs.data["experiment"].tolist() == [
        "P2-1-fixed4-grid", "P2-2-fixed4-mapping", "P2-3-fixed4-mapping-layout", "P3-1-full-vc",
    ]  # fmt: skip
    main = designs.data.set_index("experiment").loc["P3-1-full-vc"]
    assert main["over_exact"] == pytest.approx(100.0 * (65.0 / 48.0 - 1.0))
    assert main["proved"] == pytest.approx(100.0 * (13.0 / 9.5 - 1.0))
    (parts,) = of_kind(section, Figure)
    assert parts.name == "version_c_parts"
    assert parts.data["variant"].tolist() == ["no-polish"]
    assert parts.data["percent"].iloc[0] == pytest.approx(100.0 * (np.sqrt(70 / 65 * 71 / 66) - 1.0))
    assert parts.data["low"].iloc[0] <= parts.data["percent"].iloc[0] <= parts.data["high"].iloc[0]
    pickers = {picker.name: picker for picker in of_kind(section, Picker)}
    assert set(pickers) == {"alternation", "version_c_front"}
    families = set(pickers["version_c_front"].options[0][1].data["family"])
    assert families == {"phase 2", "phase 3", "sweep"}
    for picker in pickers.values():
        for _, figure in picker.options:
            assert "<svg" in svg_of(figure.spec, figure.name)
    assert "<svg" in svg_of(parts.spec, parts.name)


def test_a_variant_of_another_objective_is_no_point_of_the_chart(results: Path):
    for seed in (0, 1):
        path = results / "EXP-P3-1-full-vc__no-polish" / f"seed{seed}" / "design.json"
        write_design(path, replace(read_design(path), objective="serial"))
    section = version_c.section(read_context(results))
    (parts,) = of_kind(section, Figure)
    assert parts.data["variant"].tolist() == ["no-polish"]
    assert "no-polish" not in json.dumps(parts.spec)
    assert "<svg" in svg_of(parts.spec, parts.name)
    said = [block.html for block in of_kind(section, Prose) if "settings of their own" in block.html]
    assert len(said) == 1
    assert "no-polish (" in said[0]


def test_it_says_that_the_setting_was_chosen_and_shows_the_control(results: Path):
    section = version_c.section(read_context(results))
    (notice,) = of_kind(section, Notice)
    assert "chosen" in notice.html
    said = " ".join(block.html for block in of_kind(section, Prose))
    assert "gain <strong>52.0" in said, "the made-up control has a gain, and it is told"
    assert "period <strong>+10.0" in said
    (pictures,) = of_kind(section, Html)
    assert pictures.html.count("<details") == 4
    assert pictures.html.count("<svg") == 8


def test_without_results_it_says_how_to_make_them(tmp_path: Path):
    (block,) = version_c.section(read_context(tmp_path / "demo")).blocks
    assert isinstance(block, Prose)
    assert "Not run" in block.html


def test_without_variants_the_group_is_named(results: Path):
    for name in EXPERIMENTS[4:]:
        for seed in (0, 1):
            (results / name / f"seed{seed}" / "metrics.parquet").unlink()
    section = version_c.section(read_context(results))
    said = " ".join(block.html for block in of_kind(section, Prose))
    assert "ablation_version_c" in said
    assert "sweep_lambda" in said


def test_pictures_name_the_chips_and_a_split_design_has_no_period_chart():
    design = made_up(0)
    assert "0 a100" in (gantt_of(design) or "")
    assert ">l4</text>" in wafer_of(design)
    assert gantt_of(made_up(0, parent=7)) is None


def test_unbeaten_rows():
    gains = np.array([[1.0], [2.0], [2.0], [0.5]])
    costs = np.array([[1.0, 5.0], [2.0, 5.0], [2.0, 6.0], [3.0, 1.0]])
    assert unbeaten(gains, costs).tolist() == [True, True, False, True]
