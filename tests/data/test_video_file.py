"""Decoding: order, counts, and every kind of damage ends in a status."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from pipeline.data import video_file
from pipeline.data.video_file import VideoFacts, decode_video, raw_videos
from pipeline.errors import DataError


def decode(path: Path) -> tuple[VideoFacts, list[np.ndarray]]:
    frames: list[np.ndarray] = []
    return decode_video(path, frames.append), frames


def cut(path: Path, n_bytes: int) -> Path:
    path.write_bytes(path.read_bytes()[:n_bytes])
    return path


def test_frames_come_in_order_and_are_all_there(tmp_path, write_avi):
    facts, frames = decode(write_avi(tmp_path / "a.avi", 20, fps=30))
    assert facts == VideoFacts(20, 30.0, 64, 48, False, "ok", "")
    levels = np.array([frame.mean() for frame in frames])
    np.testing.assert_allclose(levels, 20 + 6 * np.arange(20), atol=4)


def test_a_clip_with_sound_is_ok_though_its_header_may_promise_one_more(tmp_path, write_avi, noise):
    facts, _ = decode(write_avi(tmp_path / "a.avi", 20, sound=noise(20)))
    assert (facts.status, facts.n_frames, facts.has_audio) == ("ok", 20, True)


def test_one_frame(tmp_path, write_avi):
    facts, _ = decode(write_avi(tmp_path / "a.avi", 1))
    assert (facts.status, facts.n_frames) == ("ok", 1)


def test_truncated_file_keeps_its_frames_and_says_so(tmp_path, write_avi):
    path = write_avi(tmp_path / "a.avi", 40)
    content = path.read_bytes()
    middle = (content.index(b"movi") + len(content)) // 2
    facts, frames = decode(cut(path, middle))
    assert facts.status == "truncated"
    assert 0 < facts.n_frames == len(frames) < 39
    assert f"{facts.n_frames} of 40" in facts.message


def test_header_only(tmp_path, write_avi):
    path = write_avi(tmp_path / "a.avi", 12)
    facts, frames = decode(cut(path, path.read_bytes().index(b"movi") + 4))
    assert (facts.status, facts.n_frames, frames) == ("bad", 0, [])
    assert "no frame decodes" in facts.message


@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"not a video" * 100, "not a readable video")])
def test_unreadable_file(tmp_path, content, message):
    path = tmp_path / "a.avi"
    path.write_bytes(content)
    facts, _ = decode(path)
    assert facts.status == "bad"
    assert message in facts.message


def test_sound_without_picture(tmp_path, write_avi, noise):
    facts, _ = decode(write_avi(tmp_path / "a.avi", 0, sound=noise(20)))
    assert (facts.status, facts.has_audio) == ("bad", True)
    assert "no video track" in facts.message


def test_metadata_that_is_not_utf8(tmp_path, write_avi):
    path = write_avi(tmp_path / "a.avi", 5, title="TITLE")
    content = path.read_bytes()
    assert b"TITLE" in content
    path.write_bytes(content.replace(b"TITLE", b"\xff\xfe\xe9\xff\xfe"))
    facts, _ = decode(path)
    assert (facts.status, facts.n_frames) == ("ok", 5)


def test_errors_of_the_consumer_pass_through(tmp_path, write_avi):
    def refuse(frame: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        decode_video(write_avi(tmp_path / "a.avi"), refuse)


class Container:
    """A container of grey frames whose conversion fails from one of them on."""

    def __init__(self, n_good: int, error: Exception) -> None:
        rate = SimpleNamespace(average_rate=25, frames=4)
        self.streams = SimpleNamespace(video=[rate], audio=[])
        self.n_good, self.error = n_good, error

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def decode(self, stream: object):
        return (SimpleNamespace(width=8, height=6, to_ndarray=partial(self.convert, k)) for k in range(4))

    def convert(self, k: int, format: str) -> np.ndarray:
        if k >= self.n_good:
            raise self.error
        return np.zeros((6, 8, 3), np.uint8)


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), ValueError("Conversion to rgb24 is unknown")])
@pytest.mark.parametrize(("n_good", "status"), [(0, "bad"), (2, "truncated")])
def test_a_frame_that_does_not_convert_is_damage_of_the_file(monkeypatch, tmp_path, error, n_good, status):
    monkeypatch.setattr(video_file, "open_container", lambda path: Container(n_good, error))
    facts, frames = decode(tmp_path / "a.avi")
    assert (facts.status, facts.n_frames, len(frames)) == (status, n_good, n_good)
    assert (error.strerror if isinstance(error, OSError) else str(error)) in facts.message


def test_without_a_frame_rate_a_file_is_bad_and_has_no_frames(monkeypatch, tmp_path, write_avi):
    monkeypatch.setattr(video_file, "frame_rate", lambda container: None)
    facts, frames = decode(write_avi(tmp_path / "a.avi", 5))
    assert (facts.status, facts.n_frames, facts.fps, frames) == ("bad", 0, None, [])
    assert facts.message == "the container states no frame rate"


def test_a_file_that_cannot_be_opened_is_bad(monkeypatch, tmp_path, write_avi):
    facts, _ = decode(tmp_path / "gone.avi")
    assert (facts.status, facts.message) == ("bad", "the file cannot be read: No such file or directory")

    def forbidden(path: Path) -> None:
        raise av.error.PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(video_file, "open_container", forbidden)
    facts, _ = decode(write_avi(tmp_path / "a.avi"))
    assert (facts.status, facts.message) == ("bad", "the file cannot be read: Permission denied")


def test_raw_videos_are_sorted_and_ids_unique(tmp_path, write_avi):
    for name in ("B/v_B_g01_c01.avi", "A/v_A_g02_c01.AVI", "A/v_A_g01_c01.avi"):
        write_avi(tmp_path / name, 2)
    (tmp_path / "A" / "notes.txt").write_text("x")
    assert [p.name for p in raw_videos(tmp_path)] == ["v_A_g01_c01.avi", "v_A_g02_c01.AVI", "v_B_g01_c01.avi"]
    write_avi(tmp_path / "B" / "v_A_g01_c01.avi", 2)
    with pytest.raises(DataError, match="v_A_g01_c01 is also"):
        raw_videos(tmp_path)


def test_raw_folder_missing_or_empty(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        raw_videos(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"v_<Name>_gXX_cYY\.avi"):
        raw_videos(tmp_path)


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("name", "n_frames", "fps", "has_audio"),
    [
        ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", 164, 25.0, True),
        ("UCF-101/BaseballPitch/v_BaseballPitch_g01_c01.avi", 107, 29.97, False),
        ("UCF-101/Rowing/v_Rowing_g16_c03.avi", 135, 25.0, False),
        ("UCF-101/SoccerJuggling/v_SoccerJuggling_g23_c01.avi", 240, 29.97, False),
        ("other/hmdb51/RATRACE_wave_f_nm_np1_fr_goo_37.avi", 72, 30.0, False),
        ("other/hmdb51/SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi", 74, 30.0, False),
        ("other/kinetics400/R6llTwEh07w.mp4", 303, 30.0, True),
        ("other/kinetics400/SOX5yA1l24A.mp4", 332, 29.97, True),
    ],
)
def test_real_clips(reference, name, n_frames, fps, has_audio):
    count = 0

    def take(frame: np.ndarray) -> None:
        nonlocal count
        count += 1

    facts = decode_video(reference / name, take)
    assert (facts.status, facts.n_frames, facts.has_audio) == ("ok", n_frames, has_audio)
    assert count == n_frames
    assert facts.fps == pytest.approx(fps, abs=0.005)


@pytest.mark.reference_data
def test_decode_order_is_display_order_on_a_clip_with_b_frames(reference):
    """Its timestamps are out of order; in decode order neighbours are more alike than sorted by timestamp."""
    _, frames = decode(reference / "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi")
    small = np.stack(frames)[:, ::4, ::4].astype(np.float32)
    assert np.abs(np.diff(small, axis=0)).mean() < 3.0
