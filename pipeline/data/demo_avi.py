"""AVI files as UCF101 has them: MPEG-4 Part 2 tagged XVID beside MP3; and damaged ones.

The encoder runs on one thread, so the bytes depend on the input (and the FFmpeg inside PyAV) only.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import av
import numpy as np
from jaxtyping import Float32, UInt8

from .demo_scene import FPS, HEIGHT_PX, WIDTH_PX
from .demo_sound import SAMPLE_RATE_HZ

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS
VIDEO_BITS_PER_S, AUDIO_BITS_PER_S = 300_000, 64_000

Damage = Literal["zero_bytes", "truncated", "header_only", "sound_only", "silent_track", "title_not_utf8", "one_frame"]
DAMAGES: tuple[Damage, ...] = (
    "zero_bytes",
    "truncated",
    "header_only",
    "sound_only",
    "silent_track",
    "title_not_utf8",
    "one_frame",
)
PLAYABLE: frozenset[Damage] = frozenset({"silent_track", "title_not_utf8", "one_frame"})
TITLE_ASCII, TITLE_LATIN1 = b"Demo cafe", "Demo café".encode("latin-1")


def encode_avi(
    frames: UInt8[np.ndarray, "L 240 320 3"] | None,
    sound: Float32[np.ndarray, " S"] | None,
    metadata: Mapping[str, str],
) -> bytes:
    """Encode a clip: 25 frames/s at 300 kb/s, sound (both channels alike) at 64 kb/s; either may be absent.

    The sound goes in one frame's worth at a time beside the picture, as a camera writes it.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        container.metadata.update(metadata)
        video = None if frames is None else _add_video(container)
        audio = None if sound is None else _add_audio(container)
        n_steps = len(frames) if frames is not None else 0 if sound is None else len(sound) // SAMPLES_PER_FRAME
        for step in range(n_steps):
            if frames is not None and video is not None:
                picture = av.VideoFrame.from_ndarray(frames[step], format="rgb24")
                picture.pts = step
                container.mux(video.encode(picture))
            if sound is not None and audio is not None:
                container.mux(audio.encode(_audio_frame(sound, step)))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))
    return file.getvalue()


def _add_video(container: Any) -> Any:
    stream = container.add_stream("mpeg4", rate=FPS)
    stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
    stream.bit_rate = VIDEO_BITS_PER_S
    codec = stream.codec_context
    codec.codec_tag, codec.gop_size, codec.max_b_frames, codec.thread_count = "XVID", 12, 0, 1
    return stream


def _add_audio(container: Any) -> Any:
    # Level 7 of LAME's psychoacoustics halves the encoder's time; at 64 kb/s a noisy tone sounds the same.
    stream = container.add_stream(
        "libmp3lame", rate=SAMPLE_RATE_HZ, layout="stereo", options={"compression_level": "7"}
    )
    stream.bit_rate = AUDIO_BITS_PER_S
    return stream


def _audio_frame(sound: Float32[np.ndarray, " S"], step: int) -> av.AudioFrame:
    start = step * SAMPLES_PER_FRAME
    channels = np.repeat(sound[None, start : start + SAMPLES_PER_FRAME], 2, axis=0)
    frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
    return frame


def encode_damaged(
    damage: Damage,
    frames: UInt8[np.ndarray, "L 240 320 3"],
    sound: Float32[np.ndarray, " S"] | None,
    metadata: Mapping[str, str],
) -> bytes:
    """Encode a clip the way the wild delivers some: see `DAMAGES`; those in `PLAYABLE` decode in full."""
    if damage == "zero_bytes":
        return b""
    if damage == "sound_only":
        return encode_avi(None, _silence(len(frames)) if sound is None else sound, metadata)
    if damage == "silent_track":
        return encode_avi(frames, _silence(len(frames)), metadata)
    if damage == "title_not_utf8":
        titled = encode_avi(frames, sound, {**metadata, "title": TITLE_ASCII.decode()})
        return titled.replace(TITLE_ASCII, TITLE_LATIN1, 1)
    if damage == "one_frame":
        return encode_avi(frames[:1], None if sound is None else sound[:SAMPLES_PER_FRAME], metadata)
    whole = encode_avi(frames, sound, metadata)
    return whole[: len(whole) // 2] if damage == "truncated" else whole[: whole.index(b"movi") + len(b"movi")]


def _silence(n_frames: int) -> Float32[np.ndarray, " S"]:
    return np.zeros(n_frames * SAMPLES_PER_FRAME, np.float32)
