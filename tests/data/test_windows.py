"""Window tables and frame sampling, against the spec's code and for any length."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.windows import jittered_start, sample_frames, stride_of, window_starts, window_table

lengths = st.integers(1, 400)
covers = st.integers(1, 64)
ratios = st.floats(0.05, 2.0)


def spec_starts(n_frames: int, cover_len: int, ratio: float, offset: int = 0) -> list[int]:
    """Spec §3.2."""
    stride = max(1, int(cover_len * ratio))
    return list(range(offset, max(n_frames - cover_len + 1, 1), stride))


def spec_indices(start: int, cover_len: int, n_frames: int, num_frames: int) -> np.ndarray:
    """Spec §3.3."""
    Lw = min(start + cover_len, n_frames) - start
    if Lw >= num_frames:
        idx = np.floor(np.linspace(0, Lw - 1, num_frames)).astype(int)
    else:
        base = np.arange(Lw)
        idx = np.concatenate([base, np.clip(base[-1:], 0, Lw - 1).repeat(num_frames - Lw)], axis=0)
    return np.clip(start + idx, 0, n_frames - 1)


@given(lengths, covers, ratios)
def test_starts_are_the_specs_plus_at_most_a_last_window(n_frames, cover_len, ratio):
    starts = window_starts(n_frames, cover_len, ratio).tolist()
    expected = spec_starts(n_frames, cover_len, ratio)
    last = max(0, n_frames - cover_len)
    assert starts == (expected if expected[-1] == last else [*expected, last])


@given(lengths, covers, st.floats(0.05, 1.0))
def test_every_frame_is_in_a_window(n_frames, cover_len, ratio):
    seen = np.zeros(n_frames, dtype=bool)
    for start in window_starts(n_frames, cover_len, ratio):
        seen[start : start + cover_len] = True
    assert seen.all()


@given(lengths, covers, st.integers(1, 40), st.data())
def test_sampling_is_the_specs_code(n_frames, cover_len, num_frames, data):
    start = data.draw(st.integers(0, max(0, n_frames - cover_len)))
    ids = sample_frames(start, cover_len, n_frames, num_frames)
    np.testing.assert_array_equal(ids, spec_indices(start, cover_len, n_frames, num_frames))
    assert len(ids) == num_frames
    assert (ids >= start).all()
    assert (ids < min(n_frames, start + cover_len)).all()


@given(lengths, covers, ratios, st.integers(0, 2**31), st.data())
def test_jitter_stays_in_the_video_and_below_a_stride(n_frames, cover_len, ratio, seed, data):
    stride = stride_of(cover_len, ratio)
    start = int(data.draw(st.sampled_from(window_starts(n_frames, cover_len, ratio).tolist())))
    moved = jittered_start(start, cover_len, n_frames, stride, np.random.default_rng(seed))
    assert start <= moved < start + stride
    assert moved <= max(0, n_frames - cover_len)
    assert moved == jittered_start(start, cover_len, n_frames, stride, np.random.default_rng(seed))


@given(st.lists(st.tuples(st.integers(0, 50), lengths), max_size=6), st.lists(covers, min_size=1, max_size=3), ratios)
def test_table_has_a_window_per_video_and_scale_inside_its_range(ranges, clip_lens, ratio):
    first = np.array([low for low, _ in ranges], dtype=np.int64)
    stop = first + np.array([length for _, length in ranges], dtype=np.int64)
    table = window_table(first, stop, clip_lens, ratio)
    assert list(table.columns) == ["video", "cover_len", "start"]
    pairs = set(zip(table["video"], table["cover_len"], strict=True))
    assert pairs == {(video, cover_len) for video in range(len(ranges)) for cover_len in clip_lens}
    owner = table["video"].to_numpy()
    assert (table["start"] >= first[owner]).all()
    assert (table["start"] < stop[owner]).all()
