"""The report as a file: complete, self-contained, honest about what is missing, and equal to its artefacts."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from benchmarks.synthetic_results import CLASSES, World, fabricate
from pipeline.artifacts import write_parquet, write_text
from pipeline.config.loading import PROJECT_ROOT
from pipeline.errors import ConfigError, DataError
from pipeline.experiments import available, load_catalogue
from pipeline.machine import machine_line
from pipeline.report.blocks import Html, Prose, Section
from pipeline.report.context import BASELINE, read_context
from pipeline.report.figures import accuracy_chart, duration_chart
from pipeline.report.page import make_report, with_findings
from pipeline.report.rendering import svg_of
from pipeline.report.sections import SECTIONS, confusion, examples, experiments, headline
from pipeline.report.sections.configuration import flatten
from pipeline.report.sections.data_card import split_members
from pipeline.report.tables import read_benchmarks
from pipeline.report.templating import FOLDER

SMALL = World(accuracy={BASELINE: 0.8}, seeds=(0,), groups=4, test_groups=2, clips=1, damaged=False)


class Page(HTMLParser):
    """Collects what the tests ask of a page: attributes, ids, and the elements of each figure."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.figures: dict[str, dict[str, str | None]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if "id" in values:
            self.ids.append(str(values["id"]))
        self.links += [str(values[key]) for key in ("href", "src", "xlink:href") if values.get(key)]
        if tag == "figure" and str(values.get("id", "")).startswith("figure-"):
            self._open.append(str(values["id"]).removeprefix("figure-"))
            self.figures[self._open[-1]] = {}
        elif self._open:
            self.figures[self._open[-1]].setdefault(tag, values.get("aria-label") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "figure" and self._open:
            self._open.pop()


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    return (report / "index.html").read_text()


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one run, to be copied and damaged."""
    return fabricate(tmp_path_factory.mktemp("small") / "demo", SMALL)


def copy_of(results: Path, tmp_path: Path) -> Path:
    """A copy that reads its own data folder, not that of the original."""
    copy = shutil.copytree(results, tmp_path / "demo")
    for config in copy.glob("*/seed*/config.yaml"):
        config.write_text(config.read_text().replace(str(results), str(copy)))
    return copy


def add_ad_hoc(results: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Copy the baseline's run to `adhoc/<name>`, with replacements in the text of its configuration."""
    folder = shutil.copytree(results / BASELINE, results / "adhoc" / name)
    config = folder / "seed0" / "config.yaml"
    text = config.read_text()
    for old, new in ((f"experiment: {BASELINE}", f"experiment: adhoc/{name}"), *changes):
        assert old in text, old
        text = text.replace(old, new)
    config.write_text(text)
    return folder


def test_every_section_is_there_and_linked(page: Page, tmp_path: Path) -> None:
    context = read_context(tmp_path, "demo")
    names = [make(context).name for make in SECTIONS]
    assert set(names) <= set(page.ids)
    assert {f"#{name}" for name in names} <= set(page.links)


def test_the_head_of_the_page_says_what_the_sections_found() -> None:
    facts, prose = Html(Markup("<p>facts</p>")), Prose(Markup("text"))
    head, silent = Section("headline", "Head", (prose, facts)), Section("b", "B", (prose,))
    assert with_findings([head, silent]) == [head, silent]

    telling = Section("c", "C", (prose,), Markup("it is <b>so</b>"))
    first, *others = with_findings([head, silent, telling])
    before, findings, last = first.blocks
    assert (before, last, others) == (prose, facts, [silent, telling])
    assert isinstance(findings, Html)
    assert '<a href="#c">C</a>' in findings.html
    assert "it is <b>so</b>" in findings.html
    assert "#b" not in findings.html


def test_nothing_is_loaded_from_elsewhere(page: Page, report: Path) -> None:
    for link in page.links:
        if not link.startswith(("#", "data:")):
            assert (report / link).is_file(), link


def test_inner_links_and_ids_are_whole(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_every_figure_has_caption_description_data_and_twin(page: Page, report: Path) -> None:
    assert len(page.figures) >= 10
    for name, parts in page.figures.items():
        assert {"figcaption", "svg", "table", "details"} <= set(parts), name
        assert len(str(parts["div"])) > 30, f"{name} has no description in words"
        for file in (f"figures/{name}.svg", f"tables/{name}.csv", f"tables/{name}.parquet"):
            assert (report / file).is_file()


def test_the_figures_of_the_page_are_the_files(text: str, report: Path) -> None:
    for file in (report / "figures").glob("*.svg"):
        assert file.read_text() in text
        assert "svg:root" in file.read_text()


def test_the_budget_is_kept(text: str) -> None:
    assert len(text.encode()) <= 3e6
    assert sum((FOLDER / name).stat().st_size for name in ("style.css", "script.js")) <= 60e3


def test_csv_and_parquet_hold_the_same(report: Path) -> None:
    for file in (report / "tables").glob("*.parquet"):
        table, text_table = pd.read_parquet(file), pd.read_csv(file.with_suffix(".csv"))
        assert list(table.columns) == list(text_table.columns)
        assert len(table) == len(text_table)


def test_the_headline_is_computed_from_the_predictions(report: Path, results: Path) -> None:
    table = pd.read_parquet(report / "tables" / "experiments.parquet").set_index("experiment")
    runs = [pd.read_parquet(results / BASELINE / f"seed{k}" / "predictions.parquet") for k in (0, 1)]
    tests = pd.concat(runs).query("split == 'test'")
    accuracy = (tests["label"] == tests["prediction"]).mean()
    assert table.loc[BASELINE, "accuracy"] == pytest.approx(accuracy)
    assert table.loc[BASELINE, "accuracy_low"] < accuracy < table.loc[BASELINE, "accuracy_high"]
    assert (
        f"<strong>{100 * accuracy:.1f}\N{NO-BREAK SPACE}%</strong> of 72 test videos"
        in (report / "index.html").read_text()
    )
    late = table.loc["EXP-P1AV-1-av-dense-late-fusion"]
    assert late["difference"] == pytest.approx(late["accuracy"] - accuracy)


def test_chance_and_controls_stand_in_the_table(report: Path) -> None:
    table = pd.read_parquet(report / "tables" / "experiments.parquet").set_index("experiment")
    assert table.loc["chance", "accuracy"] == pytest.approx(1 / 6)
    assert table.loc["EXP-P1V-C1-scrambled-labels", "kind"] == "control"
    assert table.loc["EXP-P1V-C1-scrambled-labels", "verdict"].startswith("at chance")
    assert table.loc["EXP-P1AV-C3-shuffled-audio", "verdict"].startswith("below video alone")


def test_an_experiment_that_was_not_run_says_so_with_its_command(report: Path, text: str) -> None:
    table = pd.read_parquet(report / "tables" / "experiments.parquet").set_index("experiment")
    assert table.loc["EXP-P1AV-C2-audio-only", "status"] == "not run"
    assert "snakemake --cores all EXP-P1AV-C2-audio-only --config preset=demo" in text


def test_a_control_that_fails_warns_at_the_top(tmp_path: Path) -> None:
    name = "EXP-P1V-C1-scrambled-labels"
    results = fabricate(tmp_path / "demo", World(accuracy={BASELINE: 0.8, name: 0.8}, seeds=(0,), damaged=False))
    html = str(headline.section(read_context(results)))
    assert "warning" in html
    assert "NOT at chance" in html


def test_a_control_that_gets_none_of_six_videos_right_is_no_alarm(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    name = "EXP-P1V-C1-scrambled-labels"
    control = fabricate(tmp_path / "other" / "demo", dataclasses.replace(SMALL, accuracy={name: 0.2}))
    path = shutil.copytree(control / name, results / name) / "seed0" / "predictions.parquet"
    table = pd.read_parquet(path).groupby(["split", "label"], as_index=False).head(1)
    write_parquet(path, table.assign(prediction=(table["label"] + 1) % 6))
    context = read_context(results)
    verdict = context.estimates[name].verdict
    assert verdict is not None
    assert verdict.outcome == "passed"
    assert "bounds from resampling so few are too narrow" in str(headline.section(context))


def test_splits_by_time_are_announced_as_no_generalisation(tmp_path: Path) -> None:
    world = World(accuracy={BASELINE: 0.8}, seeds=(0,), groups=3, clips=1, assignments={"data.splits": "by_time"})
    results = fabricate(tmp_path / "demo", world)
    context = read_context(results)
    assert "no claim of generalisation" in str(headline.section(context))
    members = split_members(context)
    assert members["train"] == members["val"] == members["test"] != frozenset()


def test_an_empty_results_folder_is_a_page_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    make_report(tmp_path / "tiny", tmp_path / "report")
    html = (tmp_path / "report" / "index.html").read_text()
    assert "No experiment has been run yet" in html
    for name in load_catalogue().experiments:
        assert f"snakemake --cores all {name} --config preset=tiny" in html
    assert not (tmp_path / "report" / "figures").exists()


def test_data_without_a_run_still_gives_a_data_card(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = shutil.copytree(small, tmp_path / "results" / "demo")
    shutil.rmtree(results / BASELINE)
    context = read_context(results)
    assert context.data.manifest is not None
    assert len(split_members(context)["test"]) == 12
    make_report(results, tmp_path / "report")
    assert "baseline not run" in (tmp_path / "report" / "index.html").read_text()


def test_a_run_without_metrics_is_unfinished_not_missing(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    (results / BASELINE / "seed0" / "metrics.parquet").unlink()
    arm = read_context(results).arm(BASELINE)
    assert arm is not None
    assert arm.status == "unfinished"


def test_an_ad_hoc_run_is_shown_beside_the_catalogue(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    folder = add_ad_hoc(results, "mine-12345678")
    make_report(results, tmp_path / "report")
    table = pd.read_parquet(tmp_path / "report" / "tables" / "experiments.parquet").set_index("experiment")
    assert table.loc["adhoc/mine-12345678", "difference"] == 0.0
    assert table.loc["adhoc/mine-12345678", "title"] == "Ad-hoc run of mine"
    html = (tmp_path / "report" / "index.html").read_text()
    seed = (folder / "seed0").as_posix()
    assert f"python -m scripts.run_ast2_ucf101 --cfg {seed}/config.yaml --out {seed}" in html
    planned = len(available("demo"))
    assert f"1 of {planned} done, 1 seed each; beside them 1 ad-hoc run" in html
    assert (tmp_path / "report" / "tables" / "learning-adhoc.csv").is_file()
    assert (tmp_path / "report" / "tables" / "confusion-mine-12345678.csv").is_file()


def test_an_ad_hoc_run_is_no_target_of_the_workflow(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    add_ad_hoc(results, "mine-12345678")
    (results / "adhoc" / "mine-12345678" / "seed0" / "metrics.parquet").unlink()
    make_report(results, tmp_path / "report")
    html = (tmp_path / "report" / "index.html").read_text()
    assert "adhoc/mine-12345678 <span" in html
    assert not re.search(r"snakemake[^<]*adhoc/", html)


def test_an_ad_hoc_control_is_called_by_its_name(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    add_ad_hoc(results, "my_control-12345678", ("labels: 'true'", "labels: scrambled"))
    assert [sentence.split(":")[0] for _, sentence in headline.controls(read_context(results))] == [
        "my_control-12345678"
    ]


def test_a_run_cut_in_time_says_so_beside_runs_that_are_not(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    add_ad_hoc(results, "mine-12345678", ("splits: lists", "splits: by_time"))
    table = experiments.experiment_table(read_context(results)).set_index("experiment")
    assert table.loc["adhoc/mine-12345678", "title"] == "Ad-hoc run of mine; same videos in all splits"
    assert "same videos" not in table.loc[BASELINE, "title"]


def from_jpegs_alone(results: Path, rows: slice = slice(None)) -> Path:
    """Make the manifest say of some videos what it says when nothing but their JPEG frames was there."""
    path = results / "data" / "ucf101" / "manifest.parquet"
    table = pd.read_parquet(path)
    table.loc[table.index[rows], "fps"] = np.nan
    table.loc[table.index[rows], "has_audio"] = False
    table.loc[table.index[rows], "sha256"] = ""
    write_parquet(path, table)
    return results


def facts_of(section: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", section))


def test_data_from_a_jpeg_tree_alone_have_unknown_durations_and_sound(small: Path, tmp_path: Path) -> None:
    results = from_jpegs_alone(copy_of(small, tmp_path))
    (results / "data" / "ucf101" / "audio.parquet").unlink()
    shutil.rmtree(results / "data" / "ucf101" / "audio")
    make_report(results, tmp_path / "report")
    html = (tmp_path / "report" / "index.html").read_text()
    facts = facts_of(html)
    assert facts["Total duration"] == facts["With sound"] == facts["Frames per second"] == "unknown"
    assert "Durations are unknown" in html
    assert "Sound features have not been computed" in html
    assert "frame rate unknown</span>" in html
    assert not re.search(r">\s*nan\b|\bnan (s|fps)\b", html)
    assert not (tmp_path / "report" / "figures" / "durations.svg").exists()
    counts = pd.read_parquet(tmp_path / "report" / "tables" / "data_counts.parquet").set_index("class")
    assert counts[["seconds", "with_audio"]].isna().all(axis=None)
    assert counts.loc["all classes", "videos"] == 24


def test_known_durations_are_summed_beside_unknown_ones(small: Path, tmp_path: Path) -> None:
    results = from_jpegs_alone(copy_of(small, tmp_path), slice(0, 1))
    context = read_context(results)
    make_report(results, tmp_path / "report")
    facts = facts_of((tmp_path / "report" / "index.html").read_text())
    assert facts["Total duration"].endswith(", unknown of 1 video")
    assert facts["Frames per second"] == "25, unknown of 1 video"
    assert context.data.manifest is not None
    expected = (context.data.manifest["n_frames"].iloc[1:] / 25).sum()
    counts = pd.read_parquet(tmp_path / "report" / "tables" / "data_counts.parquet").set_index("class")
    assert counts.loc["all classes", "seconds"] == pytest.approx(expected)
    assert pd.read_parquet(tmp_path / "report" / "tables" / "durations.parquet")["videos"].sum() == 23


def test_bad_videos_are_left_out_by_status_whatever_their_frames(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    path = results / "data" / "ucf101" / "manifest.parquet"
    table = pd.read_parquet(path)
    first = table.index[table["video_id"] == "v_BounceBlue_g01_c01"]
    table.loc[first, ["status", "message"]] = ["bad", "frame 9 is not a JPEG"]
    write_parquet(path, table)
    make_report(results, tmp_path / "report")
    tables = tmp_path / "report" / "tables"
    assert pd.read_parquet(tables / "data_counts.parquet").set_index("class").loc["BounceBlue", "videos"] == 3
    assert pd.read_parquet(tables / "durations.parquet")["videos"].sum() == 23
    assert 'class="example">\n<figcaption><strong>BounceBlue' not in (tmp_path / "report" / "index.html").read_text()


def test_a_split_list_is_read_as_training_reads_it(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    path = results / "data" / "ucf101" / "splits" / "testlist01.txt"
    write_text(path, "BounceBlue/v_BounceBlue_g01_c01.avi\nno class\n")
    with pytest.raises(DataError, match=r"testlist01\.txt:2"):
        read_context(results)


def test_benchmarks_are_found_without_walking_the_frames(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    add_ad_hoc(results, "mine-12345678")
    write_text(results / "data" / "ucf101" / "frames" / "A" / "seed0" / "benchmark.jsonl", '{"s": 1.0}\n')
    jobs = read_benchmarks(results).query("rule == 'train_single_device'")["job"]
    assert sorted(jobs) == [f"{BASELINE}/seed0", "adhoc/mine-12345678/seed0"]


def test_sound_that_changes_nothing_is_called_that(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    folder = shutil.copytree(results / BASELINE, results / headline.LATE_FUSION)
    config = folder / "seed0" / "config.yaml"
    config.write_text(config.read_text().replace(f"experiment: {BASELINE}", f"experiment: {headline.LATE_FUSION}"))
    assert "late fusion changes nothing" in " ".join(headline.summary(read_context(results)))


@pytest.mark.parametrize(("tallest", "ticks"), [(1, [0, 1]), (3, [0, 1, 2, 3]), (10, [0, 3, 6, 9])])
def test_videos_are_counted_in_whole_numbers(tallest: int, ticks: list[int]) -> None:
    data = pd.DataFrame({"start_s": [0.0], "end_s": [1.0], "videos": [tallest], "label": ["all"]})
    assert duration_chart(data, "all")["encoding"]["y"]["axis"]["values"] == ticks


@pytest.mark.parametrize(("low", "high"), [(-60.0, 80.0), (-100.0, 66.7), (-70.0, 26.0), (-8.0, 14.0)])
def test_both_panels_of_the_accuracy_figure_label_their_zero(low: float, high: float) -> None:
    bounds = {"difference": 0.0, "difference_low": low, "difference_high": high}
    row = {"experiment": "a", "kind": "control", "accuracy": 50.0, "accuracy_low": 0.0, "accuracy_high": 100.0}
    data = pd.DataFrame([row | bounds | {"label": "a", "difference_label": "a"}])
    svg = svg_of(accuracy_chart(data, 25.0, "a"), "accuracy")
    shown = re.findall(r"<text([^>]*)>0</text>", svg)
    assert len([attributes for attributes in shown if 'opacity="0"' not in attributes]) == 2


def test_the_page_names_the_machine_but_not_its_owner(text: str) -> None:
    assert machine_line() in text
    assert platform.node() not in machine_line()


def test_a_comparison_on_other_videos_is_refused(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    name = "EXP-P1V-2-dense-noscale"
    other = fabricate(
        tmp_path / "other" / "demo", World(accuracy={name: 0.7}, seeds=(0,), groups=6, clips=1, damaged=False)
    )
    shutil.copytree(other / name, results / name)
    assert read_context(results).estimates[name].difference == "tested on other videos"


def test_one_class_with_one_video_is_enough(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    run, root = results / BASELINE / "seed0", results / "data" / "ucf101"
    for path in (run / "predictions.parquet", root / "manifest.parquet"):
        table = pd.read_parquet(path)
        write_parquet(path, table[table["video_id"] == "v_BounceBlue_g01_c01"].assign(prediction=0))
    make_report(results, tmp_path / "report")
    table = pd.read_parquet(tmp_path / "report" / "tables" / "experiments.parquet").set_index("experiment")
    assert table.loc[BASELINE, "accuracy"] == table.loc["chance", "accuracy"] == 1.0


def test_damaged_artefacts_are_named(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    (results / BASELINE / "seed0" / "history.parquet").write_bytes(b"not a table")
    with pytest.raises(DataError, match=r"history\.parquet"):
        make_report(results, tmp_path / "report")
    with pytest.raises(ConfigError, match="no such preset"):
        make_report(results, tmp_path / "report", preset="demoo")


def test_messages_from_files_cannot_become_markup(report: Path, text: str) -> None:
    assert "moov atom not found &lt;0 bytes&gt;" in text
    assert "<0 bytes>" not in text
    assert {"truncated", "bad"} <= set(pd.read_parquet(report / "tables" / "damaged_files.parquet")["status"])


def test_counts_by_class_and_split_add_up(report: Path) -> None:
    counts = pd.read_parquet(report / "tables" / "data_counts.parquet").set_index("class")
    assert list(counts.index) == [*CLASSES, "all classes"]
    assert (counts.loc[list(CLASSES)].sum() == counts.loc["all classes"]).all()
    assert counts.loc["all classes", "test"] == 6 * 4 * 3
    # One file is bad; the truncated one is used.
    assert counts.loc["all classes", "videos"] == 6 * 9 * 3 - 1


def test_confusions_count_every_test_video_of_every_seed(results: Path) -> None:
    context = read_context(results)
    arm = context.arm(BASELINE)
    assert arm is not None
    matrix = confusion.confusion(arm, context.data.class_names())
    assert matrix["videos"].sum() == 2 * 72
    assert matrix.groupby("true")["share"].sum().to_numpy() == pytest.approx(np.ones(6))
    diagonal = matrix.loc[matrix["true"] == matrix["predicted"], "videos"].sum()
    assert diagonal / 144 == pytest.approx(context.estimates[BASELINE].accuracy.mean)


def test_many_classes_become_a_table_of_confusions(small: Path, tmp_path: Path) -> None:
    results = copy_of(small, tmp_path)
    path = results / BASELINE / "seed0" / "predictions.parquet"
    table = pd.read_parquet(path)
    wide = pd.concat([table.assign(label=k, prediction=(k + 1) % 30) for k in range(30)])
    write_parquet(path, wide.assign(video_id=wide["video_id"] + wide["label"].astype(str)))
    blocks = confusion.section(read_context(results)).blocks
    assert [type(block).__name__ for block in blocks] == ["Table"]


def test_configurations_hide_exactly_what_is_equal(report: Path, page: Page) -> None:
    table = pd.read_parquet(report / "tables" / "configurations.parquet").set_index("key")
    differing = set(table.index[table.nunique(axis=1) > 1])
    assert {"data.labels", "data.clip_lens", "model.fusion", "init_from"} <= differing
    assert "model.depth" not in differing
    assert not {"seed", "experiment", "preset"} & set(table.index)
    assert flatten({"a": {"b": 1, "c": {"d": None}}, "e": []}) == {"a.b": 1, "a.c.d": None, "e": []}


def test_cost_is_summed_by_rule_whatever_names_it(results: Path, report: Path) -> None:
    cost = pd.read_parquet(report / "tables" / "cost.parquet").set_index("rule")
    assert cost.loc["make_demo_data", "jobs"] == 2
    assert cost.loc["train_single_device", "jobs"] == 14
    jobs = read_benchmarks(results)
    assert cost["wall_s"].sum() == pytest.approx(jobs["wall_s"].sum())
    assert (
        cost.loc["extract_frames", "peak_memory_mb"] == jobs.query("rule == 'extract_frames'")["peak_memory_mb"].max()
    )
    assert np.isnan(cost.loc["merge_manifest", "peak_memory_mb"])
    assert "make_report" not in cost.index


def test_a_run_is_counted_under_its_own_rule_and_patient(tmp_path: Path) -> None:
    folders = ["EXP-C0-baseline/seed0/ID1", "EXP-C3-stages/seed1/ID1", "EXP-C3-stages/seed1/ID02"]
    folders += ["EXP-P0-1-ms-mem/seed0", "EXP-P1V-3-ast-no-hw__ast/seed0", "adhoc/mine-12345678/seed0"]
    for folder in folders:
        write_text(tmp_path / folder / "benchmark.jsonl", json.dumps({"s": 1.0}) + "\n")
    jobs = read_benchmarks(tmp_path)
    assert sorted(jobs["job"]) == sorted(folders)
    assert dict(zip(jobs["job"], jobs["rule"], strict=True)) == dict(
        zip(
            folders,
            ["train_cascade_baseline", *["main_swec_cascade"] * 2, "run_proxy_ms_mem", *["train_single_device"] * 2],
            strict=True,
        )
    )


def test_a_half_written_benchmark_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "benchmarks" / "x.jsonl", json.dumps({"s": 1.0}) + '\n{"s": ')
    with pytest.raises(DataError, match=r"x\.jsonl:2"):
        read_benchmarks(tmp_path)


def test_example_frames_and_sound_share_a_time_axis() -> None:
    assert examples.frame_indices(16) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert examples.frame_indices(1) == [0] * 8
    features = np.zeros((5, 3), dtype=np.float32)
    features[4, 0] = 1.0  # the lowest band, in the last frame
    picture = examples.log_mel_picture(features)
    assert picture.shape == (3, 5, 3)
    assert np.unravel_index(picture.sum(axis=2).argmax(), (3, 5)) == (2, 4)


def test_examples_show_one_clip_per_class_with_its_outcome(text: str) -> None:
    shown = re.findall(r'<figure class="example">.*?</figure>', text, flags=re.DOTALL)
    assert len(shown) == len(CLASSES)
    for name, block in zip(CLASSES, shown, strict=True):
        assert f"v_{name}_g01_c01" in block
        assert re.search("✓ recognised as|✗ taken for", block)
        assert block.count("<rect") == 8


def test_the_same_artefacts_give_the_same_page(small: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_report(small, tmp_path / name)
    assert (tmp_path / "a" / "index.html").read_bytes() == (tmp_path / "b" / "index.html").read_bytes()


def test_the_report_imports_no_training_code() -> None:
    modules = ("torch", "pipeline.trainer", "pipeline.models")
    code = f"import pipeline.report.page, sys; print([m for m in {modules} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_script_names_what_to_make_first(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.make_report", "--results", str(tmp_path / "none")]
    run = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "snakemake --cores all --config preset=demo" in run.stderr
