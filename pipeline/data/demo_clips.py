"""The clips of the generated data set: which ones there are, what each one shows, how it is listed.

Class c of six: motion c // 2, hue c % 2, sound as in `octave_of`. Every clip has its own generator, seeded with
(seed, 2, group, class, clip), and its scene one seeded with (seed, 1, group, class); so what it shows does not
depend on the order, the shards or the number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int, UInt8

from . import demo_scene
from .demo_avi import DAMAGES, PLAYABLE, SAMPLES_PER_FRAME, Damage
from .demo_scene import Hue, Motion, Scene, Target, draw_scene, draw_target, noise_bank, render, target_boxes
from .demo_sound import Sound, draw_sound, synthesise

if TYPE_CHECKING:
    import pandas as pd

    from ..config.sections import DemoConfig

CLASSES = ("SlideCool", "SlideWarm", "BounceCool", "BounceWarm", "CircleCool", "CircleWarm")
MOTIONS: tuple[Motion, ...] = ("horizontal", "vertical", "circular")
HUES: tuple[Hue, ...] = ("cool", "warm")
SILENT_SHARE, SHORT_SHARE = 0.16, 0.02
TRUTH_COLUMNS = ("video_id", "frame", "x0", "y0", "x1", "y1", "moving", "class", "label", "group")


@dataclass(frozen=True)
class DemoClip:
    """One file: `class_index` from 0; `group` and `index` from 1, as in the file name."""

    class_index: int
    group: int
    index: int
    damage: Damage | None = None

    @property
    def class_name(self) -> str:
        return CLASSES[self.class_index]

    @property
    def video_id(self) -> str:
        return f"v_{self.class_name}_g{self.group:02d}_c{self.index:02d}"

    @property
    def path(self) -> str:
        """Relative to the folder `UCF-101`, as the split lists write it."""
        return f"{self.class_name}/{self.video_id}.avi"


@dataclass(frozen=True)
class Content:
    """What a clip shows, before anything is rendered; `noise_order` picks a noise frame for every frame."""

    target: Target
    sound: Sound | None
    noise_order: Int[np.ndarray, " L"]


def motion_of(class_index: int) -> Motion:
    """Classes 0, 1 slide, 2, 3 bounce, 4, 5 circle."""
    return MOTIONS[class_index // 2]


def hue_of(class_index: int) -> Hue:
    """Even classes are cool, odd ones warm, on average."""
    return HUES[class_index % 2]


def octave_of(class_index: int) -> int:
    """The sound pairs classes across motions: alone it cannot name a class, but it splits each motion's pair."""
    return (class_index // 2 + 2 * (class_index % 2)) % 3


def clips_of(config: DemoConfig) -> list[DemoClip]:
    """All clips in the order of their paths. Damaged ones come on top, in training groups only."""
    clips = [
        DemoClip(c, g, k)
        for c in range(config.classes)
        for g in range(1, config.groups + 1)
        for k in range(1, config.clips_per_group + 1)
    ]
    if config.with_bad:
        training_groups = config.groups - config.test_groups
        clips += [
            DemoClip(
                i % config.classes, config.test_groups + 1 + i % training_groups, config.clips_per_group + 1 + i, d
            )
            for i, d in enumerate(DAMAGES)
        ]
    return sorted(clips, key=lambda clip: clip.path)


def draw_content(rng: np.random.Generator, class_index: int, *, short_allowed: bool) -> Content:
    """Draw a clip of 32-47 frames, with sound in 84 % of cases; 2 % have 5-7 frames where that is allowed.

    The draws are the same in number and order whatever comes out, so that no setting shifts another one's stream.
    """
    n_frames, n_short, is_short = int(rng.integers(32, 48)), int(rng.integers(5, 8)), rng.random() < SHORT_SHARE
    n_frames = n_short if is_short and short_allowed else n_frames
    is_silent = rng.random() < SILENT_SHARE
    target = draw_target(rng, motion_of(class_index), hue_of(class_index), n_frames)
    sound = draw_sound(rng, octave_of(class_index))
    noise_order = rng.integers(demo_scene.NOISE_FRAMES, size=n_frames)
    return Content(target, None if is_silent else sound, noise_order)


def _generator_of(clip: DemoClip, config: DemoConfig) -> np.random.Generator:
    return np.random.default_rng([config.seed, 2, clip.group, clip.class_index, clip.index])


@lru_cache(maxsize=1)
def scene_of(seed: int, group: int, class_index: int) -> Scene:
    """The scene that all clips of a group and class share."""
    return draw_scene(np.random.default_rng([seed, 1, group, class_index]))


def may_be_short(clip: DemoClip, config: DemoConfig) -> bool:
    """Short clips stay out of the test groups (clean figures) and out of the damaged files (one fault each)."""
    return clip.group > config.test_groups and clip.damage is None


def _content_of(clip: DemoClip, config: DemoConfig, rng: np.random.Generator) -> Content:
    return draw_content(rng, clip.class_index, short_allowed=may_be_short(clip, config))


def render_clip(
    clip: DemoClip, config: DemoConfig, *, target: bool = True
) -> tuple[UInt8[np.ndarray, "L 240 320 3"], Float32[np.ndarray, " S"] | None]:
    """Frames and (with a target) one channel of sound of a clip, as they go into the encoder."""
    rng = _generator_of(clip, config)
    content = _content_of(clip, config, rng)
    noise = noise_bank(config.seed)
    frames = render(
        scene_of(config.seed, clip.group, clip.class_index),
        content.target if target else None,
        noise,
        content.noise_order,
    )
    if content.sound is None or not target:
        return frames, None
    sample_frames = np.arange(len(frames) * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME
    phase_rad = demo_scene.phase_at(content.target, sample_frames)
    moving = demo_scene.is_moving(content.target, sample_frames)
    return frames, synthesise(rng, content.sound, phase_rad, moving)


def truth_of(clip: DemoClip, config: DemoConfig, *, target: bool = True) -> pd.DataFrame:
    """One row per frame: the target's box in native pixels; without a target the boxes are NaN, nothing moves.

    A file that does not play as rendered (see `demo_avi.PLAYABLE`) has no rows.
    """
    import pandas as pd

    shown = _content_of(clip, config, _generator_of(clip, config)).target
    plays = clip.damage is None or clip.damage in PLAYABLE
    n_rows = 0 if not plays else 1 if clip.damage == "one_frame" else shown.n_frames
    frame = np.arange(n_rows)
    boxes = target_boxes(shown)[:n_rows] if target else np.full((n_rows, 4), np.nan)
    columns = {name: boxes[:, i].astype(np.float32) for i, name in enumerate(("x0", "y0", "x1", "y1"))}
    moving = demo_scene.is_moving(shown, frame.astype(np.float64)) & target
    identity = {"class": clip.class_name, "label": clip.class_index, "group": clip.group}
    return pd.DataFrame({"video_id": clip.video_id, "frame": frame, **columns, "moving": moving, **identity})


def split_lists(config: DemoConfig) -> dict[str, list[str]]:
    """File name → lines, in UCF101's syntax: labels from 1, and none in the test list; the lowest groups are test."""
    clips = clips_of(config)
    return {
        "classInd.txt": [f"{c + 1} {name}" for c, name in enumerate(CLASSES[: config.classes])],
        "trainlist01.txt": [f"{clip.path} {clip.class_index + 1}" for clip in clips if clip.group > config.test_groups],
        "testlist01.txt": [clip.path for clip in clips if clip.group <= config.test_groups],
    }
