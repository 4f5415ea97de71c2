"""The page's section on pruning: plots of accuracy over cost, sparsities, masks; and its absence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic_results import World, fabricate
from pipeline.artifacts import write_npy
from pipeline.errors import DataError
from pipeline.report.blocks import Figure, Html, Picker, Prose, Section, Table
from pipeline.report.context import Context, read_context
from pipeline.report.page import make_report
from pipeline.report.pruning_arms import compared
from pipeline.report.pruning_figures import pareto_front, spread_labels
from pipeline.report.pruning_pictures import SIDE, dim_dropped
from pipeline.report.sections.experiments import experiment_table
from pipeline.report.sections.pruning import section

BASE = "EXP-P1V-3-ast-no-hw"
ACCURACY = {
    "EXP-P1V-1-dense-multiscale": 0.72,
    "EXP-P1V-C3-dense-continued": 0.73,
    BASE: 0.72,
    f"{BASE}__ast": 0.73,
    f"{BASE}__evit": 0.70,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("pruned") / "demo", World(accuracy=ACCURACY, seeds=(0, 1)))


@pytest.fixture(scope="module")
def context(results: Path) -> Context:
    return read_context(results)


@pytest.fixture(scope="module")
def made(context: Context) -> Section:
    return section(context)


def table(made: Section, name: str) -> pd.DataFrame:
    return next(block.data for block in made.blocks if isinstance(block, Table) and block.name == name)


def test_both_plots_hold_every_arm(made: Section) -> None:
    figures = {block.name: block for block in made.blocks if isinstance(block, Figure)}
    assert set(figures) == {"pruning-macs-video", "pruning-time-video"}
    for figure in figures.values():
        assert set(figure.data["experiment"]) >= {"ast", "evit", "P1V-3-ast-no-hw", "P1V-1-dense-multiscale"}
        assert set(figure.data["family"]) == {"dense", "ours", "other rule"}


def test_time_is_over_the_dense_network_of_the_same_run(context: Context) -> None:
    rows = compared(context, "video").set_index("experiment")
    assert rows.loc["ast", "time"] == pytest.approx(1.1 / 2.0)
    assert rows.loc["ast", "macs"] == pytest.approx(15.0 / 23.4)
    assert rows.loc["P1V-1-dense-multiscale", "macs"] == 1.0
    assert rows.loc["ast", "reference"] == "P1V-C3-dense-continued"


def test_targets_stand_beside_what_was_got(made: Section) -> None:
    data = table(made, "sparsity-targets")
    gated = data[data["experiment"] == "P1V-3-ast-no-hw"].set_index("kind")
    assert list(gated.index) == ["tokens", "heads", "channels", "branches"]
    assert gated.loc["heads", "target"] == gated.loc["heads", "realised"] == 0.25
    assert list(data[data["experiment"] == "evit"]["kind"]) == ["tokens"]


def test_curves_show_layers_of_the_experiment_not_of_its_variants(made: Section) -> None:
    picker = next(block for block in made.blocks if isinstance(block, Picker))
    assert [name for name, _ in picker.options] == ["P1V-3-ast-no-hw"]
    data = picker.options[0][1].data
    assert {"all", "block 0", "block 3"} <= set(data["layer"])
    assert data["value"].between(0, 100).all()


def test_masks_are_shown_for_every_class(made: Section) -> None:
    html = next(str(block.html) for block in made.blocks if isinstance(block, Html))
    assert html.count("<figure") == 6
    assert html.count("data:image/webp;base64") == 6 * 4


def test_variants_are_no_experiments_of_the_table(context: Context) -> None:
    names = set(experiment_table(context)["experiment"])
    assert BASE in names
    assert not any("__" in name for name in names)


def test_the_page_holds_the_section(results: Path, tmp_path: Path) -> None:
    make_report(results, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'id="pruning"' in page
    assert (tmp_path / "report" / "tables" / "pruning.csv").is_file()


def test_nothing_pruned_is_said(tmp_path: Path) -> None:
    results = fabricate(tmp_path / "demo", World(accuracy={"EXP-P1V-1-dense-multiscale": 0.7}, seeds=(0,)))
    blocks = section(read_context(results)).blocks
    assert len(blocks) == 1
    assert isinstance(blocks[0], Prose)
    assert "Not run" in blocks[0].html


def test_a_run_without_record_shows_no_masks(tmp_path: Path) -> None:
    results = fabricate(tmp_path / "demo", World(accuracy={BASE: 0.7}, seeds=(0,)))
    (results / BASE / "seed0" / "pruning" / "windows.parquet").unlink()
    assert not any(isinstance(block, Html) for block in section(read_context(results)).blocks)


def test_a_record_of_two_runs_is_named(tmp_path: Path) -> None:
    results = fabricate(tmp_path / "demo", World(accuracy={BASE: 0.7}, seeds=(0,)))
    write_npy(results / BASE / "seed0" / "pruning" / "kept.npy", np.zeros((2, 8, 16), dtype=bool))
    with pytest.raises(DataError, match=r"pruning: its files are of different runs"):
        section(read_context(results))


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0, 100), min_size=1, max_size=20), gap=st.floats(0.1, 10))
def test_labels_keep_their_distance_and_order(values: list[float], gap: float) -> None:
    heights = np.array(values)
    placed = spread_labels(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-6).all()
    assert placed.mean() == pytest.approx(heights.mean(), abs=1e-6)
    if (np.diff(np.sort(heights)) >= gap).all():
        assert placed == pytest.approx(heights)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(rows: list[tuple[int, int]]) -> None:
    data = pd.DataFrame(rows, columns=["macs", "accuracy"])
    front = set(pareto_front(data, "macs").itertuples(index=False, name=None))
    beaten = {(c, a) for c, a in rows if any((d <= c and b >= a) and (d, b) != (c, a) for d, b in rows)}
    assert front == set(rows) - beaten


def test_kept_pixels_stay_and_dropped_ones_pale() -> None:
    pictures = np.random.default_rng(0).integers(0, 200, (3, SIDE, SIDE, 3), dtype=np.uint8)
    kept = np.random.default_rng(1).random((3, 16)) > 0.5
    shown = dim_dropped(pictures, kept)
    places = np.repeat(np.repeat(kept.reshape(3, 4, 4), SIDE // 4, axis=1), SIDE // 4, axis=2)
    assert (shown[places] == pictures[places]).all()
    assert shown[~places].min() > 180
