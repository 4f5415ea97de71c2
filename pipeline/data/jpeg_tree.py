"""The JPEG tree (spec §0.1): `frames/<Class>/<video_id>/00001.jpg`, quality 95, native size."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ..errors import DataError
from .packed import packed_size

JPEG_QUALITY = 95


def frame_path(folder: Path, frame_id: int) -> Path:
    """The JPEG of a frame counted from 0; the files count from 1."""
    return folder / f"{frame_id + 1:05d}.jpg"


def frame_files(folder: Path) -> list[Path]:
    """The JPEG files of a video, first frame first; none if there is no such folder.

    Raises:
        DataError: the names are not 00001.jpg, 00002.jpg, ... without a gap.
    """
    if not folder.is_dir():
        return []
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    expected = [frame_path(folder, frame_id) for frame_id in range(len(found))]
    for path in expected:
        if path.name not in found:
            stranger = min(found - {other.name for other in expected})
            raise DataError(f"{folder}: has {stranger} but no {path.name}; frames are 00001.jpg, 00002.jpg, ...")
    return expected


def encode_jpeg(frame: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The JPEG file of a frame."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def shrink_jpeg(jpeg: bytes, short_side: int) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[int, int]]:
    """Decode a JPEG file and resize it to the packed size, bilinear with antialiasing.

    Returns:
        The pixels, and the native (height, width).

    Raises:
        OSError: not a whole JPEG file.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        height, width = packed_size(image.height, image.width, short_side)
        small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(small), (image.height, image.width)


class PackedVideo:
    """The packed frames of one video as they are made, and a hash over its JPEG files."""

    def __init__(self, short_side: int) -> None:
        self._short_side = short_side
        self._frames: list[np.ndarray] = []
        self._digest = hashlib.sha256()
        self.native_size = (0, 0)

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, jpeg: bytes) -> None:
        """Take the next frame.

        Raises:
            OSError: not a whole JPEG file.
            DataError: its size is not that of the first.
        """
        small, size = shrink_jpeg(jpeg, self._short_side)
        if self._frames and size != self.native_size:
            raise DataError(f"it has {size[1]}x{size[0]} pixels, the first {self.native_size[1]}x{self.native_size[0]}")
        self.native_size = size
        self._frames.append(small)
        self._digest.update(hashlib.sha256(jpeg).digest())

    def array(self) -> UInt8[np.ndarray, "L h w 3"]:
        """All frames."""
        return np.stack(self._frames)

    def tree_sha256(self) -> str:
        """Identifies the JPEG files by content; equals `tree_sha256` of the folder they are written to."""
        return self._digest.hexdigest()


def tree_sha256(folder: Path) -> str:
    """One hash over the content of all JPEG files of a video."""
    digest = hashlib.sha256()
    for path in frame_files(folder):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
