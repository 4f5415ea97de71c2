"""Extraction: JPEG tree, packed cache, manifest; resuming after a kill; full disks; damaged input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.command_line import exit_code
from pipeline.data import frames as module
from pipeline.data import receipts, recipe
from pipeline.data.frames import MANIFEST_TYPES, extract_shard, merge_manifest, pack_tree
from pipeline.data.jpeg_tree import encode_jpeg, frame_files, frame_path
from pipeline.data.packed import packed_size
from pipeline.data.splits import read_class_index, read_list
from pipeline.errors import DataError
from scripts.extract_frames import main

WHOLE = (0, 1)


@pytest.fixture
def raw(tmp_path, write_avi, noise) -> Path:
    for name, n_frames in (("Jump/v_Jump_g01_c01", 6), ("Jump/v_Jump_g02_c01", 9), ("Wave/v_Wave_g01_c01", 7)):
        write_avi(tmp_path / "raw" / f"{name}.avi", n_frames, sound=noise(n_frames) if n_frames == 9 else None)
    return tmp_path / "raw"


def extract(raw: Path, out: Path, short_side: int = 24, **options) -> pd.DataFrame:
    extract_shard(raw, out, short_side, WHOLE, **options)
    merge_manifest(out, 1)
    return pd.read_parquet(out / "manifest.parquet").set_index("video_id")


def content(out: Path) -> dict[str, bytes]:
    """All result files except receipts and news, which hold times."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.parent.name != "rows" and not path.name.startswith("progress-")
    }


def test_tree_packed_and_manifest(raw, tmp_path):
    table = extract(raw, tmp_path / "out")
    assert ["video_id", *table.columns] == list(MANIFEST_TYPES)
    assert table["n_frames"].to_dict() == {"v_Jump_g01_c01": 6, "v_Jump_g02_c01": 9, "v_Wave_g01_c01": 7}
    assert list(table["label"]) == [0, 0, 1]
    assert list(table["group"]) == [1, 2, 1]
    assert list(table["has_audio"]) == [False, True, False]
    assert set(table["status"]) == {"ok"}
    folder = tmp_path / "out/frames/Jump/v_Jump_g02_c01"
    assert [path.name for path in frame_files(folder)] == [f"{k:05d}.jpg" for k in range(1, 10)]
    packed = np.load(tmp_path / "out/packed/v_Jump_g02_c01.npy")
    assert packed.shape == (9, 24, 32, 3)
    assert packed.dtype == np.uint8
    for k in (0, 8):
        with Image.open(frame_path(folder, k)) as image:
            assert np.asarray(image).mean() == pytest.approx(20 + 6 * k, abs=4)
        assert packed[k].mean() == pytest.approx(20 + 6 * k, abs=4)


def test_packed_cache_is_a_function_of_the_tree(raw, tmp_path):
    table = extract(raw, tmp_path / "out")
    shutil.copytree(tmp_path / "out/frames", tmp_path / "tree/frames")
    pack_tree(tmp_path / "tree", 24, WHOLE)
    merge_manifest(tmp_path / "tree", 1)
    for video_id in table.index:
        ours, theirs = (np.load(tmp_path / where / f"packed/{video_id}.npy") for where in ("out", "tree"))
        np.testing.assert_array_equal(ours, theirs)
    other = pd.read_parquet(tmp_path / "tree/manifest.parquet").set_index("video_id")
    unknown = ["fps", "sha256", "has_audio"]
    pd.testing.assert_frame_equal(table.drop(columns=unknown), other.drop(columns=unknown))
    assert other["fps"].isna().all()


def test_repacking_at_another_size_keeps_what_only_the_raw_file_knew(raw, tmp_path):
    out = tmp_path / "out"
    table = extract(raw, out)
    pack_tree(out, 12, WHOLE)
    merge_manifest(out, 1)
    again = pd.read_parquet(out / "manifest.parquet").set_index("video_id")
    pd.testing.assert_frame_equal(table.drop(columns="recipe"), again.drop(columns="recipe"))
    assert np.load(out / "packed/v_Jump_g01_c01.npy").shape == (6, 12, 16, 3)
    (out / "frames/Jump/v_Jump_g01_c01/00006.jpg").unlink()
    pack_tree(out, 12, WHOLE)
    merge_manifest(out, 1)
    changed = pd.read_parquet(out / "manifest.parquet").set_index("video_id")
    assert changed.loc["v_Jump_g01_c01", ["n_frames", "sha256"]].tolist() == [5, ""]
    assert changed.loc["v_Wave_g01_c01", "sha256"] == table.loc["v_Wave_g01_c01", "sha256"]


def test_shards_make_the_same_as_one_run(raw, tmp_path):
    extract(raw, tmp_path / "one")
    for index in (2, 0, 1, 3):
        extract_shard(raw, tmp_path / "many", 24, (index, 4))
    merge_manifest(tmp_path / "many", 4)
    one, many = ({k: v for k, v in content(tmp_path / n).items() if "shards" not in k} for n in ("one", "many"))
    assert one == many


def test_missing_part_is_named(raw, tmp_path):
    extract_shard(raw, tmp_path / "out", 24, (0, 2))
    with pytest.raises(DataError, match=r"frames-1-of-2.parquet: no such part .* --shard 1/2"):
        merge_manifest(tmp_path / "out", 2)


def test_a_killed_run_resumes_per_video(raw, tmp_path, monkeypatch):
    """The process dies without any clean-up in the middle of the second video."""
    out, uninterrupted = tmp_path / "out", tmp_path / "uninterrupted"
    extract(raw, uninterrupted)
    child = os.fork()
    if child == 0:
        seen = 0

        def die_at_tenth(frame: np.ndarray) -> bytes:
            nonlocal seen
            seen += 1
            if seen == 10:
                os._exit(9)
            return encode(frame)

        encode = module.encode_jpeg
        module.encode_jpeg = die_at_tenth
        extract_shard(raw, out, 24, WHOLE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert [path.name for path in (out / "rows").iterdir()] == ["v_Jump_g01_c01.json"]
    assert list(out.rglob("*.tmp")), "the kill was meant to leave a temporary folder"

    decoded = []
    decode = module.decode_video
    monkeypatch.setattr(module, "decode_video", lambda path, take: decoded.append(path.stem) or decode(path, take))
    extract(raw, out)
    assert decoded == ["v_Jump_g02_c01", "v_Wave_g01_c01"]
    assert content(out) == content(uninterrupted)
    decoded.clear()
    extract(raw, out)
    assert decoded == []


def test_what_changed_is_done_again(raw, tmp_path, monkeypatch, write_avi):
    out = tmp_path / "out"
    extract(raw, out)
    decoded: list[str] = []
    decode = module.decode_video
    monkeypatch.setattr(module, "decode_video", lambda path, take: decoded.append(path.stem) or decode(path, take))
    os.utime(raw / "Jump/v_Jump_g01_c01.avi")
    extract(raw, out)
    assert decoded == [], "a touched file with the same content keeps its result"
    write_avi(raw / "Jump/v_Jump_g01_c01.avi", 8)
    assert extract(raw, out).loc["v_Jump_g01_c01", "n_frames"] == 8
    (out / "packed/v_Jump_g02_c01.npy").unlink()
    (out / "frames/Wave/v_Wave_g01_c01/00003.jpg").unlink()
    extract(raw, out)
    assert sorted(set(decoded)) == ["v_Jump_g01_c01", "v_Jump_g02_c01", "v_Wave_g01_c01"]
    assert np.load(out / "packed/v_Jump_g02_c01.npy").shape == (9, 24, 32, 3)
    assert extract(raw, out, short_side=12)["n_frames"].sum() == 8 + 9 + 7
    assert np.load(out / "packed/v_Wave_g01_c01.npy").shape == (7, 12, 16, 3)


def inverted(frame: np.ndarray) -> bytes:
    return encode_jpeg(255 - frame)


def brightness(out: Path, table: pd.DataFrame) -> list[float]:
    return [float(np.load(out / f"packed/{video_id}.npy").mean()) for video_id in table.index]


def test_edited_code_makes_everything_again(raw, tmp_path, monkeypatch):
    """The edit is executed: the new code inverts the frames, and tables and files must follow it."""
    out = tmp_path / "out"
    before = extract(raw, out)
    dark = brightness(out, before)
    assert before["recipe"].str.fullmatch("[0-9a-f]{16}").all()
    assert before["recipe"].nunique() == 1
    monkeypatch.setattr(module, "encode_jpeg", inverted)
    pd.testing.assert_frame_equal(extract(raw, out), before)
    assert brightness(out, before) == dark
    monkeypatch.setattr(recipe, "sources_digest", lambda name: f"another {name}")
    after = extract(raw, out)
    assert (after["recipe"] != before["recipe"]).all()
    assert brightness(out, after) == pytest.approx([255 - value for value in dark], abs=2)


def test_another_library_makes_everything_again(raw, tmp_path, monkeypatch):
    before = extract(raw, tmp_path / "out")
    monkeypatch.setattr(module, "encode_jpeg", inverted)
    monkeypatch.setattr(recipe, "version", lambda name: "0")
    after = extract(raw, tmp_path / "out")
    assert (after["recipe"] != before["recipe"]).all()
    assert min(brightness(tmp_path / "out", after)) > 150


def test_repacking_with_new_code_does_not_vouch_for_frames_of_the_old(raw, tmp_path, monkeypatch):
    out = tmp_path / "out"
    before = extract(raw, out)
    monkeypatch.setattr(module, "encode_jpeg", inverted)
    monkeypatch.setattr(recipe, "sources_digest", lambda name: "another")
    for _ in range(2):
        pack_tree(out, 24, WHOLE)
        merge_manifest(out, 1)
        packed = pd.read_parquet(out / "manifest.parquet").set_index("video_id")
        pd.testing.assert_frame_equal(packed.drop(columns="recipe"), before.drop(columns="recipe"))
        assert max(brightness(out, packed)) < 100
    assert min(brightness(out, extract(raw, out))) > 150


def test_parts_of_an_older_version_are_refused(raw, tmp_path):
    extract_shard(raw, tmp_path / "out", 24, WHOLE)
    part = tmp_path / "out/shards/frames-0-of-1.parquet"
    pd.read_parquet(part).drop(columns="recipe").to_parquet(part)
    with pytest.raises(DataError, match=r"frames-0-of-1.parquet: lacks the column.s. recipe"):
        merge_manifest(tmp_path / "out", 1)


def test_raw_files_that_cannot_be_read_become_rows(raw, tmp_path, monkeypatch):
    """One is forbidden (root may read anything, so the refusal is made), one a dead link, one vanishes."""
    out = tmp_path / "out"
    whole = extract(raw, out)
    (raw / "Jump/v_Jump_g03_c01.avi").symlink_to(raw / "nowhere.avi")
    for name in ("Jump/v_Jump_g01_c01.avi", "Jump/v_Jump_g02_c01.avi"):
        (raw / name).write_bytes((raw / name).read_bytes() + b"changed")

    def forbidden(path: Path) -> str:
        if path.stem == "v_Jump_g01_c01":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return sha256(path)

    def vanishing(path: Path, take: object) -> object:
        path.rename(tmp_path / "away.avi")
        return decode(path, take)

    sha256, decode = receipts.sha256_of_file, module.decode_video
    with monkeypatch.context() as patch:
        patch.setattr(receipts, "sha256_of_file", forbidden)
        patch.setattr(module, "decode_video", vanishing)
        table = extract(raw, out)
    assert list(table["status"]) == ["bad", "bad", "bad", "ok"]
    assert list(table["n_frames"]) == [0, 0, 0, 7]
    reasons = ["Permission denied", "No such file or directory", "No such file or directory"]
    assert list(table["message"])[:3] == [f"the file cannot be read: {reason}" for reason in reasons]
    assert [path.stem for path in (out / "packed").iterdir()] == ["v_Wave_g01_c01"]
    (tmp_path / "away.avi").rename(raw / "Jump/v_Jump_g02_c01.avi")
    (raw / "Jump/v_Jump_g03_c01.avi").unlink()
    again = extract(raw, out)
    assert list(again["status"]) == ["ok"] * 3, "what is back is read again"
    assert list(again["n_frames"]) == list(whole["n_frames"])


@pytest.mark.parametrize("where", ["jpeg", "packed", "receipt"])
def test_full_disk_leaves_nothing_half_written(raw, tmp_path, monkeypatch, where):
    out = tmp_path / "out"

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "jpeg":
            patch.setattr(Path, "write_bytes", full)
        elif where == "packed":
            patch.setattr(np, "save", full)
        else:
            patch.setattr("pipeline.artifacts.json.dumps", full)
        patch.setattr(module, "prepare_class_index", lambda *arguments, **keywords: {})
        with pytest.raises((DataError, OSError), match="No space left"):
            extract_shard(raw, out, 24, WHOLE)
    assert not list(out.rglob("*.tmp"))
    assert not list(out.glob("rows/*")), "no receipt may vouch for it"
    assert set(extract(raw, out)["status"]) == {"ok"}


def test_damaged_files_become_rows(raw, tmp_path, write_avi, noise, capsys):
    (raw / "Wave/v_Wave_g02_c01.avi").write_bytes(b"")
    write_avi(raw / "Wave/v_Wave_g03_c01.avi", 0, sound=noise(9))
    long = write_avi(raw / "Wave/v_Wave_g04_c01.avi", 40)
    data = long.read_bytes()
    long.write_bytes(data[: (data.index(b"movi") + len(data)) // 2])
    write_avi(raw / "Wave/v_Wave_g05_c01.avi", 1)
    write_avi(raw / "Wave/holiday.avi", 5)
    (raw / "Wave/v_Wave_g06_c01.mp4").write_bytes(b"x")
    table = extract(raw, tmp_path / "out")
    expected = {"v_Wave_g02_c01": "bad", "v_Wave_g03_c01": "bad", "v_Wave_g04_c01": "truncated"}
    expected |= {"v_Wave_g05_c01": "ok", "holiday": "bad"}
    assert {name: table.loc[name, "status"] for name in expected} == expected
    assert "holiday.avi is not v_<Name>_gXX_cYY.avi" in table.loc["holiday", "message"]
    assert table.loc["holiday", "group"] == -1
    bad = table.index[table["status"] == "bad"]
    assert set(table.loc[bad, "n_frames"]) == {0}
    assert not [name for name in bad if (tmp_path / f"out/packed/{name}.npy").exists()]
    assert not [name for name in bad if (tmp_path / f"out/frames/Wave/{name}").exists()]
    summary, warnings = capsys.readouterr()
    assert "1 files are not .avi and not read: v_Wave_g06_c01.mp4" in warnings
    assert "8 videos: 4 ok, 1 truncated (v_Wave_g04_c01), 3 bad (holiday, v_Wave_g02_c01, v_Wave_g03_c01)" in summary


def test_a_video_that_turned_bad_loses_its_frames(raw, tmp_path):
    extract(raw, tmp_path / "out")
    (raw / "Wave/v_Wave_g01_c01.avi").write_bytes(b"")
    assert extract(raw, tmp_path / "out").loc["v_Wave_g01_c01", "status"] == "bad"
    assert not (tmp_path / "out/packed/v_Wave_g01_c01.npy").exists()
    assert not (tmp_path / "out/frames/Wave/v_Wave_g01_c01").exists()


def test_damaged_trees_become_rows(raw, tmp_path):
    out = tmp_path / "out"
    extract(raw, out)
    shutil.rmtree(out / "rows")
    first = out / "frames/Jump/v_Jump_g01_c01"
    (first / "00002.jpg").unlink()
    second = out / "frames/Jump/v_Jump_g02_c01/00003.jpg"
    second.write_bytes(second.read_bytes()[:200])
    Image.new("RGB", (10, 10)).save(out / "frames/Wave/v_Wave_g01_c01/00004.jpg")
    pack_tree(out, 24, WHOLE)
    merge_manifest(out, 1)
    table = pd.read_parquet(out / "manifest.parquet").set_index("video_id")
    assert list(table["status"]) == ["bad"] * 3
    assert "no 00002.jpg" in table.loc["v_Jump_g01_c01", "message"]
    assert "00003.jpg cannot be used" in table.loc["v_Jump_g02_c01", "message"]
    assert "00004.jpg cannot be used: it has 10x10 pixels" in table.loc["v_Wave_g01_c01", "message"]
    assert len(list(first.iterdir())) == 5, "frames that somebody else extracted are not ours to delete"


def test_labels_of_given_lists(raw, tmp_path, split_lists):
    lists = split_lists(tmp_path / "lists", ["Wave", "Run", "Jump"], [], [], "\r\n")
    table = extract(raw, tmp_path / "out", splits=lists)
    assert list(table["label"]) == [2, 2, 0]
    assert (tmp_path / "out/splits/trainlist01.txt").is_file()
    other = split_lists(tmp_path / "other", ["Wawe", "Jump"], [], [])
    with pytest.raises(DataError, match=r"the class Wave is not in .*did you mean 'Wawe'"):
        extract(raw, tmp_path / "out", splits=other)
    with pytest.raises(DataError, match="holds none of"):
        extract(raw, tmp_path / "out2", splits=raw)


def test_without_lists_folders_are_the_classes_and_by_time_lists_all(raw, tmp_path, capsys):
    out = tmp_path / "out"
    extract(raw, out)
    assert "warning: no classInd.txt" in capsys.readouterr().err
    assert (out / "splits/classInd.txt").read_text() == "1 Jump\n2 Wave\n"
    assert not (out / "splits/trainlist01.txt").exists()
    merge_manifest(out, 1, by_time=True)
    assert "by time: every video gives its first 60 % to training, the next 20 %" in capsys.readouterr().out
    lists = [(out / "splits" / name).read_text() for name in ("trainlist01.txt", "testlist01.txt")]
    assert lists[0] == lists[1] == "Jump/v_Jump_g01_c01.avi\nJump/v_Jump_g02_c01.avi\nWave/v_Wave_g01_c01.avi\n"


def by_time(raw: Path, out: Path, splits: Path | None = None, step=extract_shard) -> tuple[dict[str, int], list[str]]:
    """Classes and listed videos after extracting by time; the manifest must agree with them."""
    step(*([raw] if step is extract_shard else []), out, 24, WHOLE, splits=splits, by_time=True)
    merge_manifest(out, 1, splits=splits, by_time=True)
    classes = read_class_index(out / "splits/classInd.txt")
    train, test = (read_list(out / "splits" / name, classes) for name in ("trainlist01.txt", "testlist01.txt"))
    assert splits is not None or train == test
    table = pd.read_parquet(out / "manifest.parquet")
    assert [classes[name] for name in table["class"]] == list(table["label"])
    return classes, [video.video_id for video in train]


def test_by_time_follows_the_folder_that_is_there_now(raw, tmp_path, write_avi):
    out = tmp_path / "out"
    first = ["v_Jump_g01_c01", "v_Jump_g02_c01", "v_Wave_g01_c01"]
    assert by_time(raw, out) == ({"Jump": 0, "Wave": 1}, first)
    write_avi(raw / "Kick it/v_Kick it_g01_c01.avi", 5)
    write_avi(raw / "Wave/my holiday.avi", 5)
    more = [*first[:2], "v_Kick it_g01_c01", first[2]]
    assert by_time(raw, out) == ({"Jump": 0, "Kick it": 1, "Wave": 2}, more)
    assert by_time(raw, out, step=pack_tree) == ({"Jump": 0, "Kick it": 1, "Wave": 2}, more)
    write_avi(tmp_path / "other/Abseil/v_Abseil_g01_c01.avi", 5)
    assert by_time(tmp_path / "other", out) == ({"Abseil": 0}, ["v_Abseil_g01_c01"])


def test_by_time_keeps_given_lists(raw, tmp_path, split_lists):
    lists = split_lists(tmp_path / "lists", ["Wave", "Jump"], ["Jump/v_Jump_g02_c01"], ["Jump/v_Jump_g01_c01"])
    for _ in range(2):
        assert by_time(raw, tmp_path / "out", lists) == ({"Wave": 0, "Jump": 1}, ["v_Jump_g02_c01"])


def test_only_by_time_says_so(raw, tmp_path, capsys):
    extract(raw, tmp_path / "out")
    assert "by time" not in capsys.readouterr().out


@given(st.integers(16, 2000), st.integers(16, 2000), st.integers(1, 256))
def test_packed_size_keeps_short_side_and_aspect(height, width, short_side):
    h, w = packed_size(height, width, short_side)
    assert min(h, w) == short_side
    assert (h <= w) == (height <= width) or h == w
    long_side = short_side * max(height, width) / min(height, width)
    assert abs(max(h, w) - long_side) <= 1
    assert packed_size(width, height, short_side) == (w, h) or height == width


def test_packed_sizes_of_ucf101():
    assert [packed_size(240, 320, s) for s in (128, 72, 36)] == [(128, 170), (72, 96), (36, 48)]


def test_command_line(raw, tmp_path):
    command = [sys.executable, "-m", "scripts.extract_frames", "--raw", raw, "--out", tmp_path / "out", "--by-time"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 videos: 3 ok, 0 truncated, 0 bad" in done.stdout
    assert (tmp_path / "out/splits/testlist01.txt").is_file()
    assert np.load(tmp_path / "out/packed/v_Wave_g01_c01.npy").shape == (7, 128, 170, 3)
    (raw / "Wave").rename(raw / "Greet")
    for step in (["--shard", "0/1"], ["--merge", "1"]):
        done = subprocess.run(list(map(str, [*command, *step])), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/splits/classInd.txt").read_text() == "1 Greet\n2 Jump\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --raw DIR or --from-frames"),
        (("--raw", "x", "--from-frames"), "give either --raw DIR or --from-frames"),
        (("--raw", "x", "--shard", "2/2"), "expected i/n with 0 <= i < n"),
        (("--raw", "nowhere"), "nowhere: no such folder"),
        (("--from-frames",), "holds no Class/<video>/00001.jpg"),
        (("--raw", "x", "--short-side", "0"), "--short-side 0"),
        (("--merge", "5"), "no such part"),
    ],
)
def test_command_line_refuses_in_one_message(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["extract_frames", "--out", "out", *arguments])
    assert exit_code(main) == 2
    assert message in capsys.readouterr().err


def test_receipts_are_plain_json(raw, tmp_path):
    extract(raw, tmp_path / "out")
    receipt = json.loads((tmp_path / "out/rows/v_Jump_g01_c01.json").read_text())
    settings = receipt["settings"]
    assert settings.keys() == {"short_side", "quality", "code", "libraries"}
    assert settings["libraries"] == {"av": av.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
    assert receipt["row"]["n_frames"] == 6


@pytest.mark.reference_data
@pytest.mark.slow
def test_real_clips_under_official_lists(reference, tmp_path):
    table = extract(reference / "UCF-101", tmp_path / "out", short_side=128, splits=reference / "splits")
    assert table["n_frames"].to_dict() == {
        "v_ApplyEyeMakeup_g01_c01": 164,
        "v_BaseballPitch_g01_c01": 107,
        "v_Rowing_g16_c03": 135,
        "v_SoccerJuggling_g23_c01": 240,
    }
    assert list(table["label"]) == [0, 6, 75, 83]
    assert np.load(tmp_path / "out/packed/v_Rowing_g16_c03.npy").shape == (135, 128, 170, 3)
