"""Properties of the rendered world: what the class may touch, where things are, what the noise may do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import demo_scene
from pipeline.data.demo_scene import HEIGHT_PX, WIDTH_PX, Target, draw_scene, draw_target, noise_bank, render

SEEDS = st.integers(0, 2**32 - 1)
MOTIONS = ("horizontal", "vertical", "circular")
HUES = ("cool", "warm")


def _target(seed: int, motion: str = "circular", hue: str = "warm", n_frames: int = 40) -> Target:
    return draw_target(np.random.default_rng(seed), motion, hue, n_frames)


def _silence(n_frames: int) -> np.ndarray:
    """Order that shows the first noise frame throughout."""
    return np.zeros(n_frames, dtype=np.int64)


NO_NOISE = np.zeros((6, HEIGHT_PX, WIDTH_PX, 3), np.uint8)


@given(seed=SEEDS)
def test_class_enters_through_motion_and_mean_hue_only(seed: int) -> None:
    drawn = [_target(seed, motion, hue) for motion, hue in itertools.product(MOTIONS, HUES)]
    shared = {(t.frequency_hz, t.amplitude_px, t.phase_rad, t.centre_px, t.first_moving, t.n_moving) for t in drawn}
    assert len(shared) == 1
    assert {round(t.warmth - drawn[0].warmth, 9) for t in drawn} == {0.0, demo_scene.HUE_D_PRIME}


def test_hue_tells_the_pair_apart_in_79_percent() -> None:
    warm = np.array([_target(seed, hue="warm").warmth > 0 for seed in range(3000)])
    cool = np.array([_target(seed + 3000, hue="cool").warmth <= 0 for seed in range(3000)])
    # 6,000 draws at 0.788 have a standard error of 0.0053
    assert np.mean([warm, cool]) == pytest.approx(0.788, abs=0.02)


@given(seed=SEEDS, motion=st.sampled_from(MOTIONS), n_frames=st.integers(1, 47))
def test_target_stays_inside_the_frame(seed: int, motion: str, n_frames: int) -> None:
    boxes = demo_scene.target_boxes(_target(seed, motion, n_frames=n_frames))
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= WIDTH_PX).all()
    assert (boxes[:, 3] <= HEIGHT_PX).all()


@given(seed=SEEDS, motion=st.sampled_from(MOTIONS), n_frames=st.integers(5, 47))
def test_target_moves_exactly_while_it_is_said_to(seed: int, motion: str, n_frames: int) -> None:
    target = _target(seed, motion, n_frames=n_frames)
    moving = demo_scene.is_moving(target, np.arange(n_frames, dtype=np.float64))
    steps = np.abs(np.diff(demo_scene.target_centres(target), axis=0)).max(axis=1) > 0
    np.testing.assert_array_equal(steps, moving[:-1])
    assert moving.sum() == round(0.7 * n_frames)


@pytest.mark.parametrize(("motion", "spread_axes"), [("horizontal", [0]), ("vertical", [1]), ("circular", [0, 1])])
def test_motion_uses_its_axes(motion: str, spread_axes: list[int]) -> None:
    spread = np.ptp(demo_scene.target_centres(_target(1, motion)), axis=0)
    assert [axis for axis in (0, 1) if spread[axis] > 20] == spread_axes
    assert all(spread[axis] == 0 for axis in {0, 1} - set(spread_axes))


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, motion=st.sampled_from(MOTIONS))
def test_without_target_everything_else_is_the_same(seed: int, motion: str) -> None:
    scene, target = draw_scene(np.random.default_rng(seed)), _target(seed, motion, n_frames=6)
    order = np.random.default_rng(seed).integers(6, size=6)
    difference = render(scene, target, noise_bank(0), order) != render(scene, None, noise_bank(0), order)
    for changed, (x0, y0, x1, y1) in zip(difference.any(axis=3), demo_scene.target_boxes(target), strict=True):
        rows, columns = np.nonzero(changed)
        assert len(rows) > 1000
        assert columns.min() >= int(x0)
        assert columns.max() <= int(x1)
        assert rows.min() >= int(y0)
        assert rows.max() <= int(y1)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_target_lies_at_the_centre_of_its_box(seed: int) -> None:
    scene, target = draw_scene(np.random.default_rng(seed)), _target(seed, n_frames=3)
    grey = demo_scene.Scene(np.full_like(scene.canvas, 128), (0.0, 0.0), ())
    red = render(grey, target, NO_NOISE, _silence(3))[..., 1].astype(float)
    weight = np.abs(red[0] - 128)
    y, x = np.indices(weight.shape) + 0.5
    centre = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(centre, demo_scene.target_centres(target)[0], atol=0.3)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_noise_never_wraps_around(seed: int) -> None:
    scene, target = draw_scene(np.random.default_rng(seed)), _target(seed, n_frames=3)
    clean = render(scene, target, NO_NOISE, _silence(3)).astype(int)
    noisy = render(scene, target, noise_bank(seed % 3), _silence(3)).astype(int)
    assert 1.0 < (noisy - clean).std() < 5.0
    assert np.abs(noisy - clean).max() <= demo_scene.NOISE_LIMIT


def test_scene_pans_and_still_discs_do_not() -> None:
    canvas = np.tile(np.arange(50, 50 + 190, dtype=np.uint8).repeat(2)[None, :, None], (300, 1, 3))
    disc = demo_scene.Disc((100.0, 100.0), np.array([30, 200, 30], np.float32))
    frames = render(demo_scene.Scene(canvas, (0.25, 0.0), (disc,)), None, NO_NOISE, _silence(40)).astype(int)
    assert (frames[39, 200, 50] - frames[0, 200, 50]).tolist() == [5, 5, 5]
    assert frames[:, 100, 100].tolist() == [[30, 200, 30]] * 40
