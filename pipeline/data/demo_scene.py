"""Pictures of the demo clips: a slowly panning colour scene, still discs, and one striped disc that moves.

Pure functions of a generator and a few numbers; nothing here knows a class, a file or a codec. Pixel i
covers [i, i + 1), so a disc centred at x with radius r lies inside the box [x - r, x + r).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

WIDTH_PX, HEIGHT_PX, FPS = 320, 240, 25
CANVAS_WIDTH_PX, CANVAS_HEIGHT_PX = 380, 300
GRID_ROWS, GRID_COLUMNS = 6, 9
DISC_RADIUS_PX = 24.0
EDGE_SHARPNESS = 6.0
STRIPE_PERIOD_PX, STRIPE_AMPLITUDE = 8.0, 24.0
STILL_DISCS = 3
NOISE_FRAMES, NOISE_SD, NOISE_LIMIT = 6, 3.0, 12
HUE_D_PRIME = 1.6
MOVING_SHARE = 0.7

Motion = Literal["horizontal", "vertical", "circular"]
Hue = Literal["cool", "warm"]


@dataclass(frozen=True)
class Disc:
    """A flat disc that never moves; `centre_px` is (x, y), `colour` RGB."""

    centre_px: tuple[float, float]
    colour: Float32[np.ndarray, " 3"]


@dataclass(frozen=True)
class Scene:
    """What all clips of one group and class share: a canvas larger than the frame, its pan, the still discs."""

    canvas: UInt8[np.ndarray, "300 380 3"]
    pan_px_per_frame: tuple[float, float]
    discs: tuple[Disc, ...]


@dataclass(frozen=True)
class Target:
    """The moving disc of one clip. Outside [first_moving, first_moving + n_moving) it stands still."""

    motion: Motion
    warmth: float
    frequency_hz: float
    amplitude_px: float
    phase_rad: float
    centre_px: tuple[float, float]
    n_frames: int
    first_moving: int
    n_moving: int


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene: colours N(base, 35) on a 6 x 9 grid, interpolated; a pan of up to 0.25 px a frame; 3 discs."""
    grid = rng.standard_normal((GRID_ROWS, GRID_COLUMNS, 3)) * 35.0 + rng.uniform(80.0, 170.0, 3)
    pan = rng.uniform(0.0, 0.25, 2)
    margin = DISC_RADIUS_PX
    discs = tuple(
        Disc(
            (float(rng.uniform(margin, WIDTH_PX - margin)), float(rng.uniform(margin, HEIGHT_PX - margin))),
            rng.uniform(30.0, 225.0, 3).astype(np.float32),
        )
        for _ in range(STILL_DISCS)
    )
    return Scene(_interpolate(grid), (float(pan[0]), float(pan[1])), discs)


def _interpolate(grid: Float[np.ndarray, "6 9 3"]) -> UInt8[np.ndarray, "300 380 3"]:
    rows = _bilinear_weights(CANVAS_HEIGHT_PX, GRID_ROWS)
    columns = _bilinear_weights(CANVAS_WIDTH_PX, GRID_COLUMNS)
    across = np.einsum("xj,ijc->ixc", columns, grid.astype(np.float32))
    return _to_pixels((rows @ across.reshape(GRID_ROWS, -1)).reshape(CANVAS_HEIGHT_PX, CANVAS_WIDTH_PX, 3))


def _bilinear_weights(n_pixels: int, n_nodes: int) -> Float32[np.ndarray, "n_pixels n_nodes"]:
    positions = np.linspace(0.0, n_nodes - 1, n_pixels, dtype=np.float32)
    return np.clip(1.0 - np.abs(positions[:, None] - np.arange(n_nodes, dtype=np.float32)), 0.0, None)


def _to_pixels(values: Float32[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Round into a range that leaves room for the noise, so that adding it as bytes can never wrap around."""
    return np.clip(values + 0.5, NOISE_LIMIT, 255 - NOISE_LIMIT).astype(np.uint8)


def draw_target(rng: np.random.Generator, motion: Motion, hue: Hue, n_frames: int) -> Target:
    """Draw a target; its class enters through the motion and the mean of the hue, and through nothing else.

    The hue is a draw from one of two unit normals d' = 1.6 apart (an ideal observer tells them apart in 79 %
    of clips); place, amplitude, frequency and phase come from the same distributions for every class.
    """
    mean = HUE_D_PRIME / 2 if hue == "warm" else -HUE_D_PRIME / 2
    warmth = mean + rng.standard_normal()
    frequency_hz, amplitude_px, phase_rad = rng.uniform(1.2, 1.8), rng.uniform(30.0, 46.0), rng.uniform(0.0, 2 * np.pi)
    centre_px = (float(rng.uniform(90.0, 230.0)), float(rng.uniform(72.0, 168.0)))
    n_moving = round(MOVING_SHARE * n_frames)
    first_moving = int(rng.random() * (n_frames - n_moving + 1))
    return Target(
        motion, float(warmth), frequency_hz, amplitude_px, phase_rad, centre_px, n_frames, first_moving, n_moving
    )


def phase_at(target: Target, frame: Float[np.ndarray, "*times"]) -> Float[np.ndarray, "*times"]:
    """Angle of the oscillation in radians at (fractional) frame times; constant while the target stands still."""
    elapsed_s = np.clip(frame - target.first_moving, 0.0, target.n_moving) / FPS
    return target.phase_rad + 2 * np.pi * target.frequency_hz * elapsed_s


def is_moving(target: Target, frame: Float[np.ndarray, "*times"]) -> Bool[np.ndarray, "*times"]:
    """Whether the target moves at (fractional) frame times."""
    return (frame >= target.first_moving) & (frame < target.first_moving + target.n_moving)


def target_centres(target: Target) -> Float[np.ndarray, "L 2"]:
    """Centre (x, y) of the target in every frame, in pixels."""
    angle = phase_at(target, np.arange(target.n_frames, dtype=np.float64))
    along_x = np.cos(angle) if target.motion == "circular" else np.sin(angle)
    x = target.centre_px[0] + target.amplitude_px * along_x * (target.motion != "vertical")
    y = target.centre_px[1] + target.amplitude_px * np.sin(angle) * (target.motion != "horizontal")
    return np.stack([x, y], axis=1)


def target_boxes(target: Target) -> Float[np.ndarray, "L 4"]:
    """Box (x0, y0, x1, y1) around the target in every frame, in pixels."""
    centres = target_centres(target)
    return np.concatenate([centres - DISC_RADIUS_PX, centres + DISC_RADIUS_PX], axis=1)


def target_colour(warmth: float) -> Float32[np.ndarray, " 3"]:
    """RGB of the target: blue for low warmth, red for high."""
    u = (np.tanh(warmth / 2) + 1) / 2
    return np.array([60 + 180 * u, 90, 240 - 180 * u], dtype=np.float32)


@cache
def noise_bank(seed: int) -> UInt8[np.ndarray, "6 240 320 3"]:
    """Sensor noise of a world: six grey noise frames, kept within 12 levels, negative values modulo 256."""
    rng = np.random.default_rng([seed, 0])
    noise = rng.standard_normal((NOISE_FRAMES, HEIGHT_PX, WIDTH_PX, 1), dtype=np.float32) * NOISE_SD
    levels = np.clip(np.rint(noise), -NOISE_LIMIT, NOISE_LIMIT).astype(np.int8).view(np.uint8)
    return np.repeat(levels, 3, axis=3)


def render(
    scene: Scene,
    target: Target | None,
    noise: UInt8[np.ndarray, "6 240 320 3"],
    noise_order: Int[np.ndarray, " L"],
) -> UInt8[np.ndarray, "L 240 320 3"]:
    """Render a clip of L frames, RGB. Without a target everything else is the same, pixel for pixel.

    The pan is rounded to whole pixels: the canvas changes by about one grey level a pixel, so half a pixel is
    lost in the rounding to bytes, and the background is painted anew only when the pan reaches the next pixel.
    """
    frames = np.empty((len(noise_order), HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    centres = target_centres(target) if target is not None else None
    still = [_stamp(disc.centre_px, disc.colour) for disc in scene.discs]
    position: tuple[int, int] | None = None
    background = scene.canvas
    for t, frame in enumerate(frames):
        x, y = (round(speed * t) for speed in scene.pan_px_per_frame)
        if position != (x, y):
            position, background = (x, y), scene.canvas[y : y + HEIGHT_PX, x : x + WIDTH_PX].copy()
            for stamp in still:
                _press(background, stamp)
        frame[:] = background
        if target is not None and centres is not None:
            _press(frame, _stamp((centres[t, 0], centres[t, 1]), target_colour(target.warmth), STRIPE_AMPLITUDE))
        frame += noise[noise_order[t]]
    return frames


@dataclass(frozen=True)
class _Stamp:
    """A soft-edged disc inside its bounding box; `paint` is already weighted with the opacity."""

    top: int
    left: int
    transparency: Float32[np.ndarray, "h w 1"]
    paint: Float32[np.ndarray, "h w 3"]


def _stamp(centre_px: tuple[float, float], colour: Float32[np.ndarray, " 3"], stripe_amplitude: float = 0.0) -> _Stamp:
    (cx, cy), r = centre_px, DISC_RADIUS_PX
    left, top = int(cx - r), int(cy - r)
    dx = np.arange(left, int(cx + r) + 1, dtype=np.float32) + np.float32(0.5 - cx)
    dy = np.arange(top, int(cy + r) + 1, dtype=np.float32) + np.float32(0.5 - cy)
    distance = np.sqrt(dx * dx + (dy * dy)[:, None]) / np.float32(r)
    opacity = np.clip((1 - distance) * EDGE_SHARPNESS, 0, 1)[..., None]
    stripes = np.float32(stripe_amplitude) * np.sin(dx * np.float32(2 * np.pi / STRIPE_PERIOD_PX))
    return _Stamp(top, left, 1 - opacity, opacity * (colour + stripes[:, None]))


def _press(frame: UInt8[np.ndarray, "240 320 3"], stamp: _Stamp) -> None:
    height, width, _ = stamp.paint.shape
    box = frame[stamp.top : stamp.top + height, stamp.left : stamp.left + width]
    box[:] = _to_pixels(box * stamp.transparency + stamp.paint)
