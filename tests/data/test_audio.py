"""Log-mel features: alignment with frames, agreement with librosa and the spec, statuses, resuming."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.command_line import exit_code
from pipeline.config import AudioConfig, PreprocessAudioConfig
from pipeline.config.sections import PreprocessAudioData
from pipeline.data import audio as module
from pipeline.data import receipts, recipe
from pipeline.data.audio import frame_windows, log_mel, mel_power, merge_audio, preprocess_shard, read_sound
from pipeline.data.frames import extract_shard
from pipeline.errors import DataError
from scripts.preprocess_ucf101_audio import main

FPS, RATE, HOP = 25.0, 16000, 640
CONFIG = AudioConfig()
WHOLE = (0, 1)


def random_sound(seconds: float, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(1).normal(0, level, int(seconds * RATE)).astype(np.float32)


def test_mel_power_is_librosas_on_the_same_windows():
    """At 25 fps and 16 kHz the windows are 640 samples apart, so librosa can make the same ones."""
    sound = random_sound(2.0)
    ours = mel_power(frame_windows(sound, 50, FPS, CONFIG), CONFIG)
    shifted = np.pad(sound, (CONFIG.n_fft // 2 - HOP // 2, CONFIG.n_fft))
    theirs = librosa.feature.melspectrogram(
        y=shifted, sr=RATE, n_fft=CONFIG.n_fft, hop_length=HOP, n_mels=CONFIG.n_mels, center=False
    )
    np.testing.assert_allclose(ours, theirs.T[:50], rtol=1e-4)


@pytest.mark.parametrize("k", [0, 1, 17, 49])
@pytest.mark.parametrize("fps", [25.0, 30000 / 1001])
def test_a_click_in_the_middle_of_a_frame_is_loudest_there(k, fps):
    sound = np.zeros(int(50 / fps * RATE), np.float32)
    sound[round((k + 0.5) / fps * RATE)] = 1.0
    features = log_mel(sound, 50, fps, CONFIG)
    assert features.sum(axis=1).argmax() == k
    far = np.abs(np.arange(50) - k) > 3
    assert features[far].max() == 0.0


@given(st.integers(1, 60), st.integers(0, 40000), st.sampled_from([24.0, 25.0, 29.97, 30.0, 60.0]))
@settings(max_examples=40, deadline=None)
def test_any_length_gives_one_row_per_frame_in_the_unit_range(n_frames, n_samples, fps):
    sound = np.random.default_rng(n_samples).normal(0, 1.0, n_samples).astype(np.float32)
    windows = frame_windows(sound, n_frames, fps, CONFIG)
    middle = windows[:, CONFIG.n_fft // 2]
    centres = np.round((np.arange(n_frames) + 0.5) / fps * RATE).astype(int)
    expected = np.where(centres < n_samples, np.pad(sound, (0, 1))[np.minimum(centres, n_samples)], 0.0)
    np.testing.assert_array_equal(middle, expected.astype(np.float32))
    features = log_mel(sound, n_frames, fps, CONFIG)
    assert features.shape == (n_frames, CONFIG.n_mels)
    assert features.dtype == np.float32
    assert features.min() >= 0.0
    assert features.max() <= 1.0


def test_frames_past_the_end_of_the_sound_are_silence():
    features = log_mel(random_sound(1.0), 50, FPS, CONFIG)
    assert (features[:25].max(axis=1) > 0.3).all()
    assert (features[27:] == 0.0).all()


@pytest.mark.parametrize("align", ["frame", "spec"])
def test_silence_is_zero_and_loudness_is_kept_by_the_fixed_reference_only(align):
    fixed = AudioConfig(align=align)
    relative = AudioConfig(align=align, ref="max")
    sound = random_sound(2.0, level=0.02)
    for config in (fixed, relative):
        assert (log_mel(np.zeros(RATE, np.float32), 25, FPS, config) == 0.0).all()
    loud, quiet = (log_mel(sound * gain, 50, FPS, fixed) for gain in (1.0, 0.1))
    inside = (loud > 0.3) & (loud < 1.0)
    assert inside.mean() > 0.9
    np.testing.assert_allclose((loud - quiet)[inside], 20 / 80, atol=1e-4)
    np.testing.assert_allclose(*(log_mel(sound * gain, 50, FPS, relative) for gain in (1.0, 0.1)), atol=1e-4)


@pytest.mark.parametrize("n_frames", [7, 50, 200])
def test_ref_max_with_align_spec_is_the_specs_code(n_frames):
    """Spec §4.2, copied; its decibels in [-80, 0] are stored as [0, 1]."""
    y = random_sound(2.0)
    S = librosa.feature.melspectrogram(y=y, sr=RATE, n_mels=64, n_fft=2048, hop_length=512)
    S_db = librosa.power_to_db(S, ref=np.max)
    boundaries = np.linspace(0, S_db.shape[1], n_frames + 1)
    a_list = []
    for k in range(n_frames):
        t0, t1 = int(boundaries[k]), int(boundaries[k + 1])
        if t1 <= t0:
            t1 = t0 + 1
        a_list.append(S_db[:, t0:t1].mean(axis=1))
    expected = (np.stack(a_list) + 80) / 80
    np.testing.assert_allclose(log_mel(y, n_frames, FPS, AudioConfig(ref="max", align="spec")), expected, atol=1e-5)


def test_channels_are_averaged_and_resampled(tmp_path):
    import av

    path = tmp_path / "stereo.avi"
    time = np.arange(44100) / 44100
    left, right = np.sin(2 * np.pi * 440 * time), 0.5 * np.sin(2 * np.pi * 440 * time)
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=44100, layout="stereo")
        samples = np.round(np.stack([left, right]) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout="stereo")
        frame.rate = 44100
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    sound = read_sound(path, RATE)
    assert sound.status == "ok"
    expected = 0.75 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(sound.samples[200:-200], expected[200:-200], atol=2e-3)


@pytest.fixture
def stage(tmp_path, write_avi, noise) -> PreprocessAudioData:
    """Four videos: sound, no track, a track that does not decode, no frames."""
    raw = tmp_path / "raw"
    write_avi(raw / "Jump/v_Jump_g01_c01.avi", 10, sound=noise(10))
    write_avi(raw / "Jump/v_Jump_g02_c01.avi", 8)
    broken = write_avi(raw / "Jump/v_Jump_g03_c01.avi", 6, sound=noise(6))
    content = broken.read_bytes()
    first = content.index(b"movi")
    broken.write_bytes(content[:first] + content[first:].replace(b"01wb", b"07wb"))
    (raw / "Jump/v_Jump_g04_c01.avi").write_bytes(b"")
    extract_shard(raw, tmp_path / "out", 24, WHOLE)
    out = tmp_path / "out"
    paths = {"raw_video_root": raw, "frames_root": out / "frames", "audio_root": out / "audio"}
    return PreprocessAudioConfig.model_validate({"data": {key: str(path) for key, path in paths.items()}}).data


def preprocess(config: PreprocessAudioData) -> pd.DataFrame:
    preprocess_shard(config, WHOLE)
    merge_audio(config, 1)
    return pd.read_parquet(Path(config.audio_root).parent / "audio.parquet").set_index("video_id")


def test_statuses_and_files(stage, capsys):
    table = preprocess(stage)
    assert list(table["status"]) == ["ok", "no_audio", "decode_error", "bad"]
    assert list(table["n_frames"]) == [10, 8, 6, 0]
    assert table["duration_s"].to_list() == pytest.approx([0.4, 0, 0, 0])
    arrays = {path.stem: np.load(path) for path in Path(stage.audio_root).iterdir()}
    assert {name: array.shape for name, array in arrays.items()} == {
        "v_Jump_g01_c01": (10, 64),
        "v_Jump_g02_c01": (8, 64),
        "v_Jump_g03_c01": (6, 64),
    }
    assert arrays["v_Jump_g01_c01"].min() > 0.1
    assert not arrays["v_Jump_g02_c01"].any()
    assert not arrays["v_Jump_g03_c01"].any()
    captured = capsys.readouterr()
    assert "v_Jump_g02_c01.avi: no sound track; its features are zeros" in captured.err
    assert "4 videos: 1 ok, 1 no_audio (v_Jump_g02_c01), 1 decode_error (v_Jump_g03_c01), 1 bad" in captured.out


def test_shards_and_resuming(stage, monkeypatch, write_avi, noise):
    whole = preprocess(stage)
    calls: list[str] = []
    read = module.read_sound
    monkeypatch.setattr(module, "read_sound", lambda path, rate: calls.append(path.stem) or read(path, rate))
    preprocess(stage)
    assert calls == []
    for index in (0, 1, 2):
        preprocess_shard(stage, (index, 3))
    merge_audio(stage, 3)
    table = pd.read_parquet(Path(stage.audio_root).parent / "audio.parquet").set_index("video_id")
    pd.testing.assert_frame_equal(table, whole)
    preprocess(stage.model_copy(update={"n_mels": 32}))
    assert calls == ["v_Jump_g01_c01", "v_Jump_g02_c01", "v_Jump_g03_c01"]
    assert np.load(Path(stage.audio_root) / "v_Jump_g01_c01.npy").shape == (10, 32)
    calls.clear()
    (Path(stage.frames_root) / "Jump/v_Jump_g01_c01/00010.jpg").unlink()
    assert preprocess(stage.model_copy(update={"n_mels": 32})).loc["v_Jump_g01_c01", "n_frames"] == 9
    assert calls == ["v_Jump_g01_c01"]


@pytest.mark.parametrize("changed", ["sources_digest", "version"])
def test_edited_code_or_another_library_makes_the_features_again(stage, monkeypatch, changed):
    """The edit is executed: the new code gives features of half the size, and table and files must follow it."""

    def features() -> np.ndarray:
        return np.load(Path(stage.audio_root) / "v_Jump_g01_c01.npy")

    before, old = preprocess(stage), features()
    assert before["recipe"].str.fullmatch("[0-9a-f]{16}").all()
    assert before["recipe"].nunique() == 1
    original = module.log_mel
    monkeypatch.setattr(module, "log_mel", lambda *arguments: original(*arguments) / 2)
    pd.testing.assert_frame_equal(preprocess(stage), before)
    np.testing.assert_array_equal(features(), old)
    monkeypatch.setattr(recipe, changed, lambda name: "another")
    after = preprocess(stage)
    assert (after["recipe"] != before["recipe"]).all()
    np.testing.assert_array_equal(features(), old / 2)


def test_other_settings_change_the_table(stage):
    one, other = (preprocess(stage.model_copy(update={"ref": ref})) for ref in ("fixed", "max"))
    assert (one["recipe"] != other["recipe"]).all()


def test_raw_files_that_cannot_be_read_become_rows(stage, monkeypatch):
    """With frames they count as damaged sound, without as bad; nothing vouches for them, so a rerun looks again."""
    whole = preprocess(stage)
    folder = Path(stage.raw_video_root) / "Jump"
    (folder / "v_Jump_g01_c01.avi").rename(folder / "away")
    (folder / "v_Jump_g01_c01.avi").symlink_to(folder / "nowhere")
    (folder / "v_Jump_g04_c01.avi").unlink()
    (folder / "v_Jump_g04_c01.avi").symlink_to(folder / "nowhere")
    (folder / "v_Jump_g02_c01.avi").write_bytes((folder / "v_Jump_g02_c01.avi").read_bytes() + b"changed")

    def forbidden(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(receipts, "sha256_of_file", forbidden)
        table = preprocess(stage)
    assert list(table["status"]) == ["decode_error", "decode_error", "decode_error", "bad"]
    assert list(table["n_frames"]) == list(whole["n_frames"])
    assert table.loc["v_Jump_g01_c01", "message"] == "the file cannot be read: No such file or directory"
    assert table.loc["v_Jump_g02_c01", "message"] == "the file cannot be read: Permission denied"
    assert "No such file or directory" in table.loc["v_Jump_g04_c01", "message"]
    assert not np.load(Path(stage.audio_root) / "v_Jump_g01_c01.npy").any()
    (folder / "v_Jump_g01_c01.avi").unlink()
    (folder / "away").rename(folder / "v_Jump_g01_c01.avi")
    assert list(preprocess(stage)["status"]) == ["ok", "no_audio", "decode_error", "bad"]


def test_a_raw_file_that_vanishes_while_it_is_read_is_read_again(stage, monkeypatch):
    away = Path(stage.raw_video_root) / "away"

    def vanishing(path: Path, rate: int) -> object:
        if path.stem == "v_Jump_g01_c01":
            path.rename(away)
        return read(path, rate)

    read = module.read_sound
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_sound", vanishing)
        assert preprocess(stage).loc["v_Jump_g01_c01", "status"] == "decode_error"
    away.rename(Path(stage.raw_video_root) / "Jump/v_Jump_g01_c01.avi")
    assert preprocess(stage).loc["v_Jump_g01_c01", "status"] == "ok"


def test_a_killed_run_resumes(stage, monkeypatch):
    def killed(path: Path, rate: int) -> None:
        if path.stem == "v_Jump_g02_c01":
            raise KeyboardInterrupt
        calls.append(path.stem)
        return read(path, rate)

    calls: list[str] = []
    read = module.read_sound
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_sound", killed)
        with pytest.raises(KeyboardInterrupt):
            preprocess(stage)
    monkeypatch.setattr(module, "read_sound", lambda path, rate: calls.append(path.stem) or read(path, rate))
    assert list(preprocess(stage)["status"]) == ["ok", "no_audio", "decode_error", "bad"]
    assert calls == ["v_Jump_g01_c01", "v_Jump_g02_c01", "v_Jump_g03_c01"]


def test_full_disk(stage, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(DataError, match="No space left"):
            preprocess(stage)
    assert not list(Path(stage.audio_root).iterdir())
    assert preprocess(stage).loc["v_Jump_g01_c01", "status"] == "ok"


def test_missing_frames_root_names_the_mend(stage):
    with pytest.raises(DataError, match=r"nowhere: no such folder .*scripts\.extract_frames"):
        preprocess(stage.model_copy(update={"frames_root": "nowhere"}))


def test_command_line(stage, monkeypatch, capsys):
    values = stage.model_dump(include={"raw_video_root", "frames_root", "audio_root"})
    flags = [flag for key, value in values.items() for flag in ("--set", f"data.{key}={value}")]
    cfg = "configs/preprocess_ucf101_audio.yaml"
    monkeypatch.setattr(sys, "argv", ["x", "--cfg", cfg, *flags])
    assert exit_code(main) == 0
    assert "4 videos: 1 ok" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["x", "--cfg", cfg, "--set", "data.n_mel=3"])
    assert exit_code(main) == 2
    assert "did you mean 'n_mels'" in capsys.readouterr().err


@pytest.mark.reference_data
def test_real_clips(reference):
    clips = reference / "UCF-101"
    sound = read_sound(clips / "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", RATE)
    assert (sound.status, sound.fps) == ("ok", 25.0)
    assert len(sound.samples) / RATE == pytest.approx(6.557, abs=0.01)
    assert np.abs(sound.samples).max() < 1.1
    features = log_mel(sound.samples, 164, 25.0, CONFIG)
    assert features.std() > 0.1
    assert read_sound(clips / "Rowing/v_Rowing_g16_c03.avi", RATE).status == "no_audio"
    kinetics = read_sound(reference / "other/kinetics400/R6llTwEh07w.mp4", RATE)
    assert len(kinetics.samples) / RATE == pytest.approx(10.008, abs=0.01)
