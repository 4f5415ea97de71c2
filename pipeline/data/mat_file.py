"""Reading one numeric array from a MATLAB file without loading the whole of it.

Version 5 files that are not compressed and version 7.3 ones (HDF5 with reversed axes) are read in slices; compressed
ones are loaded whole.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError

HEADER_BYTES = 128
MI_MATRIX, MI_COMPRESSED = 14, 15
MI_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class ColumnsInFile:
    """A 2-D array that lies in a file column by column, as MATLAB writes it; slices are read, nothing is kept.

    A memory map would do, but its pages count as memory of the process until the system wants them back.
    """

    def __init__(self, file: BinaryIO, offset: int, shape: tuple[int, int], dtype: str) -> None:
        self._file, self._offset = file, offset
        self.shape = shape
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        rows, columns = (range(*part.indices(size)) for part, size in zip(key, self.shape, strict=True))
        numbers = np.empty((len(columns), len(rows)), self.dtype)
        if len(rows) == self.shape[0]:
            self._fill(numbers, columns.start * self.shape[0])
        else:
            for place, column in enumerate(columns):
                self._fill(numbers[place], column * self.shape[0] + rows.start)
        return numbers.T

    def _fill(self, numbers: np.ndarray, first: int) -> None:
        self._file.seek(self._offset + first * self.dtype.itemsize)
        self._file.readinto(numbers.data.cast("B"))  # type: ignore[attr-defined]


class Transposed:
    """An HDF5 data set with its two axes exchanged, sliced lazily."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.shape = tuple(reversed(dataset.shape))
        self.dtype = dataset.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        rows, columns = key
        return np.asarray(self._dataset[columns, rows]).T


SlicedArray = np.ndarray | ColumnsInFile | Transposed


@contextlib.contextmanager
def open_mat_array(path: Path, name: str) -> Iterator[SlicedArray]:
    """Yield the 2-D numeric array `name`, indexable by two slices without a step, as MATLAB orders its axes.

    Raises:
        DataError: the file is no MATLAB file, is cut short, or lacks the array; or it is not a 2-D numeric one.
    """
    if _is_hdf5(path):
        with _open_hdf5(path) as file:
            yield _checked(path, name, Transposed(_member(path, file, name)))
        return
    with path.open("rb") as plain:
        in_file = _find_uncompressed(path, plain, name)
        yield _checked(path, name, _load(path, name) if in_file is None else in_file)


def read_mat_values(path: Path, name: str) -> np.ndarray:
    """A small numeric array (a scalar, a list of onsets), flattened, as float64.

    Raises:
        DataError: as `open_mat_array`.
    """
    if _is_hdf5(path):
        with _open_hdf5(path) as file:
            values = np.asarray(_member(path, file, name)[()])
    else:
        values = np.asarray(_load(path, name))
    if values.dtype.kind not in "iufb":
        raise DataError(f"{path}: '{name}' is not numeric ({values.dtype})")
    return values.astype(np.float64).ravel()


def _is_hdf5(path: Path) -> bool:
    """Version 7.3 files are HDF5 behind a 512-byte block."""
    try:
        with path.open("rb") as file:
            head = file.read(520)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return HDF5_MAGIC in (head[:8], head[512:520])


def _open_hdf5(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: not a readable HDF5 file, perhaps cut short ({error}); fetch it again") from error


def _member(path: Path, file: Any, name: str) -> Any:
    if name not in file:
        raise DataError(f"{path}: lacks '{name}'; it has {', '.join(sorted(file)) or 'nothing'}")
    return file[name]


def _load(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=[name])
        if name not in content:
            names = [key for key in loadmat(path) if not key.startswith("__")]
            raise DataError(f"{path}: lacks '{name}'; it has {', '.join(names) or 'nothing'}")
    except DataError:
        raise
    except Exception as error:
        # What zlib and scipy raise over damaged bytes has no common base class.
        raise DataError(
            f"{path}: not a readable MATLAB file, perhaps cut short ({type(error).__name__}: {error}); fetch it again"
        ) from error
    return content[name]


def _checked(path: Path, name: str, array: SlicedArray) -> SlicedArray:
    if len(array.shape) != 2 or np.dtype(array.dtype).kind not in "iuf":
        raise DataError(
            f"{path}: '{name}' is {array.dtype} of shape {tuple(array.shape)}; expected numbers in two axes"
        )
    return array


def _find_uncompressed(path: Path, file: BinaryIO, name: str) -> ColumnsInFile | None:
    """The array in its file, or None if it is compressed or not where a plain file has it (level 5 format guide)."""
    size = path.stat().st_size
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or header[126:128] not in (b"IM", b"MI"):
        return None
    order = "<" if header[126:128] == b"IM" else ">"
    position = HEADER_BYTES
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack(order + "II", file.read(8))
        if kind == MI_COMPRESSED or length == 0:
            return None
        if kind == MI_MATRIX:
            found = _matrix_place(file.read(min(length, 4096)), order)
            if found is not None and found[0] == name and len(found[1]) == 2:
                _, shape, dtype, offset = found
                end = position + 8 + offset + shape[0] * shape[1] * np.dtype(dtype).itemsize
                if end > size:
                    raise DataError(
                        f"{path}: is cut short: '{name}' ends at byte {end}, the file has {size}; fetch it again"
                    )
                return ColumnsInFile(file, position + 8 + offset, (shape[0], shape[1]), dtype)
        position += 8 + length
    return None


def _matrix_place(body: bytes, order: str) -> tuple[str, tuple[int, ...], str, int] | None:
    """Name, shape, type of a matrix element and the offset of its numbers in the element's body."""
    try:
        flags, position = _sub_element(body, 0, order)
        dims, position = _sub_element(body, position, order)
        label, position = _sub_element(body, position, order)
        complex_flag = struct.unpack(order + "I", flags[:4])[0] >> 8 & 8
        kind = struct.unpack_from(order + "I", body, position)[0]
    except struct.error:
        return None
    if complex_flag or kind not in MI_TYPES:  # a small element packs its size into the upper half of its type
        return None
    shape = struct.unpack(order + "i" * (len(dims) // 4), dims)
    return label.decode("ascii", "replace"), shape, order + MI_TYPES[kind], position + 8


def _sub_element(body: bytes, position: int, order: str) -> tuple[bytes, int]:
    """The bytes of one sub-element and where the next begins; sub-elements are padded to 8 bytes."""
    kind, length = struct.unpack_from(order + "II", body, position)
    if kind >> 16:
        return body[position + 4 : position + 4 + (kind >> 16)], position + 8
    return body[position + 8 : position + 8 + length], position + 8 + (length + 7) // 8 * 8
