"""What the generated clips show: nothing but motion, hue and sound gives a class away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from pipeline.config.sections import DemoConfig
from pipeline.data.demo_avi import DAMAGES
from pipeline.data.demo_clips import (
    CLASSES,
    Content,
    clips_of,
    draw_content,
    hue_of,
    motion_of,
    octave_of,
    render_clip,
    truth_of,
)
from pipeline.data.demo_scene import DISC_RADIUS_PX


@pytest.mark.parametrize("classes", [2, 6])
def test_damaged_files_are_extra_clips_of_training_groups(classes: int) -> None:
    config = DemoConfig(classes=classes, groups=3, clips_per_group=2, test_groups=2, with_bad=True)
    damaged = [clip for clip in clips_of(config) if clip.damage is not None]
    assert sorted(clip.damage for clip in damaged if clip.damage) == sorted(DAMAGES)
    assert all(clip.group == 3 and clip.index > 2 and clip.class_index < classes for clip in damaged)
    assert len({clip.path for clip in clips_of(config)}) == classes * 3 * 2 + len(DAMAGES)


def test_classes_are_told_by_motion_and_hue_and_halved_by_sound() -> None:
    assert len({(motion_of(c), hue_of(c)) for c in range(6)}) == 6
    assert sorted(octave_of(c) for c in range(6)) == [0, 0, 1, 1, 2, 2]
    assert all(octave_of(2 * m) != octave_of(2 * m + 1) for m in range(3))
    assert (
        [name[:-4] for name in CLASSES[::2]] == [name[:-4] for name in CLASSES[1::2]] == ["Slide", "Bounce", "Circle"]
    )


def _draws(n: int, **keywords: bool) -> Iterator[Content]:
    for i in range(n):
        yield draw_content(np.random.default_rng([0, 2, i // 100, i % 6, i]), i % 6, **keywords)


def test_shares_of_silent_and_short_clips() -> None:
    content = list(_draws(4000, short_allowed=True))
    silent = np.mean([c.sound is None for c in content])
    lengths = np.array([c.target.n_frames for c in content])
    # four standard errors of 4,000 draws
    assert silent == pytest.approx(0.16, abs=0.024)
    assert np.mean(lengths < 32) == pytest.approx(0.02, abs=0.009)
    assert set(lengths) == {5, 6, 7, *range(32, 48)}


def test_place_is_independent_of_class() -> None:
    centres = np.array([c.target.centre_px for c in _draws(6000, short_allowed=False)]).reshape(1000, 6, 2)
    assert (centres.min(axis=(0, 1)) >= [90, 72]).all()
    assert (centres.max(axis=(0, 1)) <= [230, 168]).all()
    standard_error = np.array([140, 96]) / 12**0.5 / 1000**0.5
    assert (np.abs(centres.mean(axis=0) - [160, 120]) < 4 * standard_error).all()


def test_short_clips_stay_out_of_test_groups() -> None:
    config = DemoConfig(classes=6, groups=60, clips_per_group=4, test_groups=30)
    lengths: dict[bool, set[int]] = {True: set(), False: set()}
    for clip in clips_of(config)[::2]:
        lengths[clip.group <= 30].add(len(truth_of(clip, config)))
    assert min(lengths[True]) >= 32
    assert min(lengths[False]) < 8


def test_clips_of_a_group_and_class_share_a_scene_and_others_do_not() -> None:
    config = DemoConfig(classes=2, groups=2, clips_per_group=2, test_groups=1)
    first = {clip.video_id: render_clip(clip, config, target=False)[0][0].astype(int) for clip in clips_of(config)}
    reference = first.pop("v_SlideCool_g01_c01")
    noise_only = {name for name, frame in first.items() if np.abs(frame - reference).max() <= 24}
    assert noise_only == {"v_SlideCool_g01_c02"}


def test_boxes_have_the_targets_size() -> None:
    config = DemoConfig(classes=6, groups=2, clips_per_group=1, test_groups=1)
    truth = pd.concat(truth_of(clip, config) for clip in clips_of(config))
    np.testing.assert_allclose(truth.x1 - truth.x0, 2 * DISC_RADIUS_PX, atol=1e-4)
    np.testing.assert_allclose(truth.y1 - truth.y0, 2 * DISC_RADIUS_PX, atol=1e-4)
    assert truth.groupby("video_id").moving.mean().between(0.65, 0.75).all()


def test_no_two_clips_show_the_same() -> None:
    clips = clips_of(DemoConfig(classes=6, groups=3, clips_per_group=3, test_groups=1, with_bad=True))
    tables = [truth_of(clip, DemoConfig(seed=seed)) for seed in (0, 1) for clip in clips]
    starts = [(table.x0[0], table.y0[0]) for table in tables if len(table)]
    assert len(set(starts)) == len(starts) > 2 * 54
