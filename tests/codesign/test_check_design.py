"""design.json: it says what the evaluator says, reads back as it was, and the checker sees whatever is wrong."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from worked_example import TableProxy, loss_cfg, small_segments, worked_chips, worked_segments

from pipeline.artifacts import read_json, write_json
from pipeline.codesign import check_design
from pipeline.codesign.check_design import check_file, check_files
from pipeline.codesign.design import Design, design_schema, read_design, write_design
from pipeline.codesign.harden import make_design
from pipeline.errors import DataError
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.layout.instance import Region
from pipeline.layout.start import grid_centres
from pipeline.mapping.mapping_solver import MappingSolver

TYPES = load_chip_library().select("default")
CHIPS: list[str | None] = ["a100", None, "l4", "d1"]
SCHEMA = Path("workflow/schemas/design.schema.json")


def small_design(objective: str = "balanced", *, split: bool = False) -> Design:
    """Three chips on a grid of four slots, one of them empty."""
    cfg = loss_cfg(mapping_cfg={"objective": objective})
    mapping: dict[str, Any] = {"mapping": [0, 2, 3, 3, 2], "rewire_meta": []}
    if split:
        mapping = {"mapping": [0, 2, 0, 3, 3, 3, 2], "rewire_meta": [{"segment_id": 1, "groups": 3}]}
    return make_design(
        small_segments(),
        CHIPS,
        TYPES,
        mapping,
        RooflineProxy(),
        grid_centres(4, 32.0, 32.0),
        cfg,
        region=Region("circle", 150.0, 150.0),
        gap_mm=0.5,
        keep={"tokens": [1.0, 0.5]},
        notes={"experiment": "test"},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "design.json"
    write_design(path, small_design())
    return path


@pytest.mark.parametrize("objective", ["balanced", "serial"])
@pytest.mark.parametrize("split", [False, True])
def test_a_right_design_is_found_right_and_reads_back(tmp_path: Path, objective: str, split: bool) -> None:
    design = small_design(objective, split=split)
    write_design(tmp_path / "design.json", design)
    assert read_design(tmp_path / "design.json") == design
    verdict = check_file(tmp_path / "design.json")
    assert verdict.ok, verdict.faults
    assert verdict.priced_anew
    assert design.costs.latency_ms == (design.costs.period_ms if objective == "balanced" else design.costs.serial_ms)


def test_costs_are_those_of_the_solver() -> None:
    """The mapping module's own evaluation of the same chips and mapping."""
    cfg = {"objective": "balanced", "strategy": "round_robin"}
    specs = {"mem_gb": torch.tensor([40.0] * 2), "name": ["a100"] * 2}
    for name in ("peak_flops", "peak_bw", "tdp_w", "idle_w", "area_mm2"):
        specs[name] = torch.full((2,), float(getattr(load_chip_library().chips["a100"], name)))
    segments = small_segments()
    plain = {key: value for key, value in specs.items() if key != "name"}
    solved = MappingSolver(2).solve_mapping(segments, plain, RooflineProxy(), strategy=cfg["strategy"], cfg={})
    design = make_design(
        segments,
        ["a100", "a100"],
        TYPES,
        solved,
        RooflineProxy(),
        grid_centres(2, 32.0, 32.0),
        loss_cfg(mapping_cfg={}),
        region=Region("circle", 150.0, 150.0),
        gap_mm=0.5,
    )
    assert design.costs.period_ms == pytest.approx(solved["balanced_ms"], rel=1e-4)
    assert design.costs.serial_ms == pytest.approx(solved["serial_ms"], rel=1e-4)
    assert design.costs.comm_ms == pytest.approx(solved["comm_ms"], rel=1e-4)


def _changed(name: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(design: dict[str, Any]) -> None:
        design["costs"][name] *= factor

    return change


def _moved(slot: int, x_mm: float) -> Callable[[dict[str, Any]], None]:
    def change(design: dict[str, Any]) -> None:
        design["positions_mm"][slot][0] += x_mm

    return change


def _first_segment(name: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(design: dict[str, Any]) -> None:
        design["segments"][0][name] *= factor

    return change


def _budget(name: str, value: float) -> Callable[[dict[str, Any]], None]:
    def change(design: dict[str, Any]) -> None:
        design["budgets"][name] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *[
            (_changed(name, 1.001), f"costs.{name}")
            for name in (
                "latency_ms",
                "period_ms",
                "serial_ms",
                "comm_ms",
                "energy_j",
                "energy_dynamic_j",
                "energy_link_j",
                "energy_idle_j",
                "edp_j_ms",
                "peak_mem_mb",
                "area_mm2",
                "tdp_w",
                "wire_mb_mm",
                "t_peak_c",
            )
        ],
        (_first_segment("latency_ms", 0.99), "segment 0: latency_ms"),
        (_first_segment("power_w", 0.99), "segment 0: power_w"),
        (_first_segment("weight_bytes", 1e6), "slot 0 (a100): memory_mb within"),
        (_budget("area_mm2", 1000.0), "budgets.area_mm2 kept"),
        (_budget("tdp_w", 500.0), "budgets.tdp_w kept"),
        (_moved(2, 300.0), "layout: farthest corner outside the region, mm"),
        (_moved(0, 20.0), "costs.wire_mb_mm"),
    ],
)
def test_whatever_is_wrong_is_found(written: Path, change: Callable[[dict[str, Any]], None], named: str) -> None:
    design = read_json(written)
    change(design)
    write_json(written, design)
    assert named in [fault.what for fault in check_file(written).faults]
    with pytest.raises(DataError, match="does not hold"):
        check_files([written])


def test_overlap_is_found_though_the_file_says_legal(written: Path) -> None:
    design = read_json(written)
    design["positions_mm"][2] = [design["positions_mm"][0][0] + 10.0, design["positions_mm"][0][1]]
    write_json(written, design)
    named = [fault.what for fault in check_file(written).faults]
    assert "layout: closest two chips, mm, at least the gap" in named
    assert "costs.legal" in named


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("chips", ["a100", None, "l4", "dl1"], "'dl1', which is not in"),
        ("chips", ["a100", None, None, "d1"], "segment 1 is on slot 2, which holds no chip"),
        ("objective", "fastest", "objective"),
        ("segments", [], "segments"),
        ("format", "something else", "format"),
    ],
)
def test_a_file_that_is_no_design_is_refused(written: Path, key: str, value: Any, message: str) -> None:
    design = read_json(written)
    design[key] = value
    write_json(written, design)
    with pytest.raises(DataError, match=message):
        check_file(written)


def test_reading_names_the_field(written: Path) -> None:
    design = read_json(written)
    design["costs"]["energy_j"] = "much"
    write_json(written, design)
    with pytest.raises(DataError, match=r"costs\.energy_j"):
        read_design(written)
    write_json(written, {"keep": {}})
    with pytest.raises(DataError, match="not a design of several chips"):
        read_design(written)


def test_prices_of_another_proxy_are_taken_as_given(tmp_path: Path) -> None:
    chips = worked_chips()
    design = make_design(
        worked_segments(),
        ["a", "b"],
        chips,
        {"mapping": [0, 0, 1], "rewire_meta": []},
        TableProxy(),
        torch.tensor([[0.0, 0.0], [64.0, 0.0]]),
        loss_cfg(),
        region=Region("rect", 100.0, 50.0),
        gap_mm=0.5,
    )
    library = tmp_path / "chips.yaml"
    rows = [
        {name: getattr(chip, name) for name in ("name", "peak_flops", "peak_bw", "mem_gb", "area_mm2")}
        for chip in chips
    ]
    for row, chip in zip(rows, chips, strict=True):
        row |= {"width_mm": chip.width_mm, "height_mm": chip.height_mm, "tdp_w": chip.tdp_w, "idle_w": chip.idle_w}
    library.write_text(json.dumps({"chip_types": rows}))
    write_design(tmp_path / "design.json", design)
    verdict = check_file(tmp_path / "design.json", library=library)
    assert verdict.ok, verdict.faults
    assert not verdict.priced_anew
    assert design.costs.energy_j == pytest.approx(0.428064)


def test_work_on_an_empty_slot_is_refused() -> None:
    with pytest.raises(DataError, match="segment 1 is mapped to slot 1, which is empty"):
        make_design(
            small_segments(),
            CHIPS,
            TYPES,
            {"mapping": [0, 1, 2, 3, 0], "rewire_meta": []},
            RooflineProxy(),
            grid_centres(4, 32.0, 32.0),
            loss_cfg(mapping_cfg={}),
            region=Region("circle", 150.0, 150.0),
            gap_mm=0.5,
        )


def test_the_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text() == design_schema(), "run: make experiments"


def test_the_checker_imports_nothing_that_it_checks() -> None:
    tree = ast.parse(Path(check_design.__file__).read_text())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert set(imported) == {"artifacts", "errors"}
