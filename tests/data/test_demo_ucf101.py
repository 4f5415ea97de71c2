"""The generated data set on disk: the same bytes however it is made, lists that parse, truth that is true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from pipeline.config.sections import DemoConfig
from pipeline.data import demo_ucf101
from pipeline.data.demo_avi import DAMAGES, PLAYABLE
from pipeline.data.demo_clips import CLASSES, TRUTH_COLUMNS, clips_of, split_lists
from pipeline.data.demo_ucf101 import finish_demo, write_demo
from pipeline.errors import DataError

CONFIG = DemoConfig(classes=3, groups=3, clips_per_group=1, test_groups=1, seed=5)
BAD = CONFIG.model_copy(update={"with_bad": True})


def _files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "UCF-101").glob("*/*.avi"))}


def _write(out: Path, config: DemoConfig, **keywords: bool) -> Path:
    write_demo(out, config, **keywords)
    finish_demo(out, config, 1, **keywords)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set with damaged files, written in one go."""
    return _write(tmp_path_factory.mktemp("made"), BAD)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    for path in made.rglob("*"):
        if path.is_file():
            target = tmp_path / "copy" / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "copy"


def test_bytes_do_not_depend_on_shards_or_their_order(made: Path, tmp_path: Path) -> None:
    for shard in (2, 0, 1):
        write_demo(tmp_path, BAD, shard=(shard, 3))
    finish_demo(tmp_path, BAD, 3)
    assert _files(tmp_path) == _files(made)
    for name in ("truth.parquet", "splits/trainlist01.txt", "splits/testlist01.txt", "splits/classInd.txt"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_damaged_files_leave_the_others_alone(made: Path, tmp_path: Path) -> None:
    plain = _files(_write(tmp_path, CONFIG))
    assert plain == {name: content for name, content in _files(made).items() if name in plain}
    assert len(_files(made)) == len(plain) + len(DAMAGES)


def test_frames_decode_to_the_truth(made: Path) -> None:
    truth = pd.read_parquet(made / "truth.parquet")
    assert tuple(truth.columns) == TRUTH_COLUMNS
    n_frames = truth.groupby("video_id").frame.agg(["count", "max"])
    playable = [clip for clip in clips_of(BAD) if clip.damage is None or clip.damage in PLAYABLE]
    assert set(n_frames.index) == {clip.video_id for clip in playable}
    for clip in playable:
        with av.open(str(made / "UCF-101" / clip.path), metadata_errors="replace") as container:
            decoded = sum(1 for _ in container.decode(video=0))
        assert tuple(n_frames.loc[clip.video_id]) == (decoded, decoded - 1)


def test_decoded_difference_to_background_lies_in_the_box(made: Path, tmp_path: Path) -> None:
    without = _write(tmp_path, CONFIG, target=False)
    truth = pd.read_parquet(made / "truth.parquet").set_index(["video_id", "frame"])
    for clip in clips_of(CONFIG)[:3]:
        pictures = []
        for root in (made, without):
            with av.open(str(root / "UCF-101" / clip.path)) as container:
                pictures.append(next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float))
        difference = np.abs(pictures[0] - pictures[1]).mean(axis=2)
        box = truth.loc[(clip.video_id, 0)]
        inside = difference[round(box.y0) + 12 : round(box.y1) - 12, round(box.x0) + 12 : round(box.x1) - 12].mean()
        y, x = np.indices(difference.shape)
        far = (np.abs(x - (box.x0 + box.x1) / 2) > 48) | (np.abs(y - (box.y0 + box.y1) / 2) > 48)
        assert inside > 4 * difference[far].mean()


def test_world_without_target_has_the_same_clips_but_no_sound(made: Path, tmp_path: Path) -> None:
    without = _write(tmp_path, CONFIG, target=False)
    truth, plain = pd.read_parquet(without / "truth.parquet"), pd.read_parquet(made / "truth.parquet")
    assert truth[["x0", "y0", "x1", "y1"]].isna().all().all()
    assert not truth.moving.any()
    same = plain[plain.video_id.isin(set(truth.video_id))].reset_index(drop=True)
    pd.testing.assert_frame_equal(truth[["video_id", "frame", "label"]], same[["video_id", "frame", "label"]])
    assert (without / "splits/testlist01.txt").read_text() == (made / "splits/testlist01.txt").read_text()
    for clip in clips_of(CONFIG):
        with av.open(str(without / "UCF-101" / clip.path)) as container:
            assert not container.streams.audio


def test_split_lists_parse_and_groups_are_disjoint(made: Path) -> None:
    read = {path.name: path.read_text().splitlines() for path in (made / "splits").iterdir()}
    assert read == split_lists(BAD)
    labels = {name: int(label) for label, name in (line.split(" ") for line in read["classInd.txt"])}
    assert labels == {name: c + 1 for c, name in enumerate(CLASSES[:3])}
    train = [line.split(" ") for line in read["trainlist01.txt"]]
    assert all(labels[path.split("/")[0]] == int(label) for path, label in train)
    listed = [path for path, _ in train] + read["testlist01.txt"]
    assert sorted(listed) == sorted(p.relative_to(made / "UCF-101").as_posix() for p in made.glob("UCF-101/*/*.avi"))
    groups = [{path.split("_g")[1][:2] for path in paths} for paths in ([p for p, _ in train], read["testlist01.txt"])]
    assert groups == [{"02", "03"}, {"01"}]


def test_finished_clips_are_kept_and_a_lost_one_is_made_again(made: Path, copy: Path) -> None:
    lost = copy / "UCF-101" / clips_of(BAD)[3].path
    before = {path: path.stat().st_mtime_ns for path in copy.glob("UCF-101/*/*.avi")}
    lost.unlink()
    leftover = lost.with_name(f".{lost.name}.abc.tmp")
    leftover.write_bytes(b"half a file")
    _write(copy, BAD)
    after = {path: path.stat().st_mtime_ns for path in copy.glob("UCF-101/*/*.avi")}
    assert {path for path in before if before[path] != after[path]} == {lost}
    assert _files(copy) == _files(made)
    assert not leftover.exists()


def test_another_seed_makes_everything_again(made: Path, copy: Path) -> None:
    other = _files(_write(copy, BAD.model_copy(update={"seed": 6})))
    changed = {name for name, content in _files(made).items() if other[name] != content}
    zero_bytes = {clip.video_id + ".avi" for clip in clips_of(BAD) if clip.damage == "zero_bytes"}
    assert changed == set(other) - zero_bytes
    assert _files(_write(copy, BAD)) == _files(made)


def test_another_generator_makes_everything_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.glob("UCF-101/*/*.avi") if path.stat().st_size}
    monkeypatch.setattr(demo_ucf101, "_recipe_of_sources", lambda: "another version")
    _write(copy, BAD)
    assert all(path.stat().st_mtime_ns != written for path, written in before.items())


def test_smaller_world_removes_its_leftovers(copy: Path) -> None:
    smaller = CONFIG.model_copy(update={"groups": 2})
    _write(copy, smaller)
    assert set(_files(copy)) == {f"{clip.video_id}.avi" for clip in clips_of(smaller)}


def test_foreign_file_is_never_removed(copy: Path) -> None:
    foreign = copy / "UCF-101" / CLASSES[0] / "v_SlideCool_g90_c01.avi"
    foreign.write_bytes(b"RIFF somebody's holiday")
    with pytest.raises(DataError, match=r"g90_c01\.avi: is not a generated clip"):
        finish_demo(copy, BAD, 1)
    assert foreign.exists()


@pytest.mark.parametrize(
    "name", ["SlideCool/v_Holiday_g90_c01.avi", "SlideCool/beach.avi", "Beach/v_Beach_g01_c01.avi"]
)
def test_empty_foreign_file_is_never_removed(copy: Path, name: str) -> None:
    foreign = copy / "UCF-101" / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.touch()
    with pytest.raises(DataError, match=f"{foreign.name}: is not a generated clip"):
        finish_demo(copy, BAD, 1)
    assert foreign.exists()


def test_truth_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise DataError("disk full")

    write_demo(tmp_path, CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(demo_ucf101, "write_text", full)
        with pytest.raises(DataError, match="disk full"):
            finish_demo(tmp_path, CONFIG, 1)
    assert not (tmp_path / "truth.parquet").exists()
    finish_demo(tmp_path, CONFIG, 1)
    assert (tmp_path / "truth.parquet").exists()


def test_merge_names_the_shard_that_is_missing_or_stale(copy: Path) -> None:
    with pytest.raises(DataError, match=r"truth-0-of-2.parquet: is missing; .* --shard 0/2"):
        finish_demo(copy, BAD, 2)
    with pytest.raises(DataError, match="made with other settings"):
        finish_demo(copy, BAD.model_copy(update={"seed": 6}), 1)
    (copy / "UCF-101" / clips_of(BAD)[0].path).unlink()
    with pytest.raises(DataError, match=f"1 clip.s. are gone .* {clips_of(BAD)[0].path}"):
        finish_demo(copy, BAD, 1)


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "scripts.make_demo_data", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_command_in_shards_equals_the_whole(tmp_path: Path) -> None:
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    done = _command("--preset", "tiny", "--out", whole)
    assert (done.returncode, done.stdout) == (0, f"preset tiny | data generated, seed 0 | output {whole}\n")
    for step in (("--shard", "1/2"), ("--shard", "0/2"), ("--merge", "2")):
        assert _command("--preset", "tiny", "--out", parts, *step).returncode == 0
    assert _files(Path(whole)) == _files(Path(parts))
    assert (tmp_path / "whole/truth.parquet").read_bytes() == (tmp_path / "parts/truth.parquet").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--preset", "tinny"], "did you mean 'tiny'"),
        (["--preset", "ucf101"], "there is nothing to generate"),
        (["--shard", "2/2"], "expected i/n"),
        (["--shard", "half"], "expected i/n"),
        (["--merge", "3"], "truth-0-of-3.parquet: is missing"),
        (["--merge", "0"], "at least one shard"),
    ],
)
def test_command_complains_clearly(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = _command("--out", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
