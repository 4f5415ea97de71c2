"""Pixels of the report: frames from disk, numbers as colours, pictures as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ..errors import DataError

# Anchors of a perceptually ordered map, black through violet and orange to pale yellow, as in matplotlib's magma.
MAGMA = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], dtype=np.float64)


def colours_of(values: Float[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S 3"]:
    """Numbers in [0, 1] as RGB, dark to bright."""
    position = np.clip(values, 0, 1) * (len(MAGMA) - 1)
    lower = np.minimum(position.astype(int), len(MAGMA) - 2)
    weight = (position - lower)[..., None]
    return (MAGMA[lower] * (1 - weight) + MAGMA[lower + 1] * weight).round().astype(np.uint8)


def read_frame(path: Path) -> Image.Image:
    """A JPEG frame as RGB.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise DataError(
            f"{path}: not a readable JPEG ({error}); delete its folder and extract the frames again"
        ) from error


def data_uri(picture: Image.Image, file_format: str, **options: object) -> str:
    """A picture as text that a page can hold."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
