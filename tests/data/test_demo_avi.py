"""The encoded files are what UCF101's are, and the damaged ones fail in the way their name says."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from pipeline.data.demo_avi import DAMAGES, PLAYABLE, SAMPLES_PER_FRAME, Damage, encode_avi, encode_damaged

L = 26
METADATA = {"comment": "a mark"}


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    y, x = np.mgrid[:240, :320]
    colours = np.stack([x / 2, y, np.full_like(x, 90)], axis=-1)
    return np.stack([np.roll(colours, 3 * t, axis=1) for t in range(L)]).astype(np.uint8)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.sin(np.arange(L * SAMPLES_PER_FRAME) / 20).astype(np.float32) / 2


def _open(content: bytes) -> av.container.InputContainer:
    return av.open(io.BytesIO(content), metadata_errors="replace")


def _decoded(content: bytes) -> list[np.ndarray]:
    with _open(content) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_file_is_what_ucf101_holds(frames: np.ndarray, sound: np.ndarray) -> None:
    with _open(encode_avi(frames, sound, METADATA)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert container.format.name == "avi"
        assert (video.codec_context.name, video.codec_context.codec_tag) == ("mpeg4", "XVID")
        assert (video.width, video.height, video.average_rate) == (320, 240, 25)
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("mp3float", 44100, 2)
        assert container.metadata["comment"] == "a mark"
        kinds = [
            (frame.key_frame, av.video.frame.PictureType(frame.pict_type).name) for frame in container.decode(video=0)
        ]
    assert [t for t, (is_key, _) in enumerate(kinds) if is_key] == [0, 12, 24]
    assert {name for _, name in kinds} == {"I", "P"}


def test_picture_survives_the_codec(frames: np.ndarray, sound: np.ndarray) -> None:
    decoded = _decoded(encode_avi(frames, sound, METADATA))
    assert len(decoded) == L
    assert np.abs(np.stack(decoded).astype(int) - frames).mean() < 6


def test_sound_survives_the_codec(frames: np.ndarray, sound: np.ndarray) -> None:
    with _open(encode_avi(frames, sound, METADATA)) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    np.testing.assert_array_equal(heard[0], heard[1])
    assert len(sound) <= heard.shape[1] < len(sound) + 3 * 1152
    # 64 kb/s costs this tone some 5 % of its amplitude
    overlap = np.correlate(heard[0, : len(sound)], sound[2000:12000], "valid")
    assert overlap.max() / (sound[2000:12000] ** 2).sum() == pytest.approx(1.0, abs=0.1)


def test_no_sound_means_no_track(frames: np.ndarray) -> None:
    with _open(encode_avi(frames[:2], None, METADATA)) as container:
        assert not container.streams.audio


def test_bytes_repeat(frames: np.ndarray, sound: np.ndarray) -> None:
    assert encode_avi(frames, sound, METADATA) == encode_avi(frames, sound, METADATA)


@pytest.fixture(scope="module")
def damaged(frames: np.ndarray, sound: np.ndarray) -> dict[Damage, bytes]:
    return {damage: encode_damaged(damage, frames, sound, METADATA) for damage in DAMAGES}


def test_nothing_plays_in_empty_and_header_only_files(damaged: dict[Damage, bytes]) -> None:
    assert damaged["zero_bytes"] == b""
    with pytest.raises(av.error.InvalidDataError):
        _decoded(damaged["zero_bytes"])
    assert _decoded(damaged["header_only"]) == []


def test_truncated_file_plays_in_part(damaged: dict[Damage, bytes]) -> None:
    assert 0 < len(_decoded(damaged["truncated"])) < L


def test_sound_only_file_has_no_picture(damaged: dict[Damage, bytes]) -> None:
    with _open(damaged["sound_only"]) as container:
        assert not container.streams.video
        assert sum(frame.samples for frame in container.decode(audio=0)) >= L * SAMPLES_PER_FRAME


def test_silent_track_is_silent(damaged: dict[Damage, bytes]) -> None:
    with _open(damaged["silent_track"]) as container:
        assert not any(frame.to_ndarray().any() for frame in container.decode(audio=0))


def test_title_is_not_utf8(damaged: dict[Damage, bytes]) -> None:
    with pytest.raises(UnicodeDecodeError):
        av.open(io.BytesIO(damaged["title_not_utf8"])).close()


@pytest.mark.parametrize("damage", sorted(PLAYABLE))
def test_playable_files_play(damaged: dict[Damage, bytes], damage: Damage) -> None:
    assert len(_decoded(damaged[damage])) == (1 if damage == "one_frame" else L)


def test_damage_does_not_need_sound(frames: np.ndarray) -> None:
    for damage in DAMAGES:
        content = encode_damaged(damage, frames[:3], None, METADATA)
        assert bool(content) == (damage != "zero_bytes")
