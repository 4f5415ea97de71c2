"""One recording of intracranial EEG, whatever file it came from: facts known at once, samples read on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Shaped

ReadSamples = Callable[[int, int], Shaped[np.ndarray, "C N"]]
OpenSignal = Callable[[], AbstractContextManager[ReadSamples]]
Span = tuple[float, float]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Recording:
    """A stretch of uninterrupted signal.

    `seizures_s` are (onset, offset) in seconds from the start of this recording, cut at its ends. `begins_s` is the
    recording's place on the patient's clock, None where the files do not tell. `group` names records that are
    split among themselves (tables of independent records). `notes` state what was left out or repaired.
    """

    patient: str
    name: str
    path: Path
    n_channels: int
    n_samples: int
    rate_hz: float
    open_signal: OpenSignal
    seizures_s: list[Span] = field(default_factory=list)
    begins_s: float | None = None
    group: str | None = None
    continues: bool = False
    channel_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.rate_hz


@dataclass(frozen=True)
class BadRecording:
    """A file that cannot be used, and why."""

    patient: str
    name: str
    path: Path
    message: str


def read_in_blocks(read: ReadSamples, samples: int, block: int) -> ReadSamples:
    """A reader of short stretches that asks `read` for whole blocks, each of them once if stretches follow each other.

    Compressed chunks are unpacked as a whole however little of them is asked for. Two blocks are held.

    Args:
        read: samples [start, stop).
        samples: length of the recording.
        block: samples of a block; blocks lie at its multiples.
    """

    @lru_cache(maxsize=2)
    def fetch(number: int) -> np.ndarray:
        return read(number * block, min(samples, (number + 1) * block))

    def read_stretch(start: int, stop: int) -> np.ndarray:
        numbers = range(start // block, -(-stop // block))
        parts = [fetch(number)[:, max(0, start - number * block) : stop - number * block] for number in numbers]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    return read_stretch


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order, each made in a second thread while the one before is used.

    Reading and unpacking leave the interpreter free. What making an item raises is raised where it is used.
    """
    with ThreadPoolExecutor(1) as beside:
        # In a list, because no item is a sign that there are no more.
        coming = beside.submit(list, islice(items, 1))
        while made := coming.result():
            coming = beside.submit(list, islice(items, 1))
            yield made[0]
