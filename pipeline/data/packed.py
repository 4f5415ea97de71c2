"""The packed frame cache: one uint8 array [L, H, W, 3] per video, memory-mapped by the loader."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..artifacts import read_npy

# Every map holds a file descriptor, of which a process commonly has 1,024.
MAX_OPEN_MAPS = 256


def packed_path(root: Path, video_id: str) -> Path:
    """Where the packed frames of a video lie."""
    return root / "packed" / f"{video_id}.npy"


def packed_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of packed frames: the short side as asked, the long side in proportion, to the nearest even.

    320 x 240 at short side 128 gives 170 x 128. Smaller videos are enlarged.
    """
    long_side = 2 * round(short_side * max(height, width) / min(height, width) / 2)
    long_side = max(short_side, long_side)
    return (short_side, long_side) if height <= width else (long_side, short_side)


def rebuild_command(root: Path, short_side: int) -> str:
    """The command that makes the packed cache again from the JPEG tree."""
    return f"python -m scripts.extract_frames --out {root} --from-frames --short-side {short_side}"


class MappedArrays:
    """NPY files opened on first use, memory-mapped and kept, the least recently used closed first."""

    def __init__(self, paths: list[Path], check: Callable[[int, Path, np.ndarray], None]) -> None:
        """
        Args:
            paths: one file per index.
            check: called with index, path and array of each newly opened file; raises if it does not belong.
        """
        self._check = check
        self._paths = paths
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        """Without the open maps, which would travel to a worker process as whole arrays."""
        return {**self.__dict__, "_open": OrderedDict()}

    def __getitem__(self, index: int) -> np.ndarray:
        array = self._open.get(index)
        if array is not None:
            self._open.move_to_end(index)
            return array
        # A plain view of the map: np.memmap's own indexing is several times slower.
        array = np.asarray(read_npy(self._paths[index], memory_map=True))
        self._check(index, self._paths[index], array)
        self._open[index] = array
        if len(self._open) > MAX_OPEN_MAPS:
            self._open.popitem(last=False)
        return array
