"""Progress of long jobs: a small JSON file per run folder, and the reader that prints them.

A job inside Snakemake writes to a log, where a moving bar would be noise; so each long job leaves
`progress.json` in its run folder, and whoever watches (the Snakefile's banner, `scripts.watch`) reads it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from .artifacts import write_text

MIN_INTERVAL_S = 1.0
# Where jobs leave their news: run folders, and the part tables of a data folder. Frame trees are not searched.
PLACES = (
    "*/seed*/progress.json",
    "*/seed*/*/progress.json",
    "adhoc/*/seed*/progress.json",
    "adhoc/*/seed*/*/progress.json",
    "shards/progress-*.json",
    "data/*/shards/progress-*.json",
)

Item = TypeVar("Item")


@runtime_checkable
class Stream(Protocol):
    """What news are printed to."""

    def write(self, text: str, /) -> int:
        """Take some text."""

    def flush(self) -> None:
        """Pass it on now."""

    def isatty(self) -> bool:
        """Whether a person is watching."""


@dataclass(frozen=True)
class Progress:
    """One line of news from a job; `updated` is seconds since the epoch."""

    run: str
    stage: str
    epoch: int
    epochs: int
    metric: str = ""
    value: float | None = None
    eta_s: float | None = None
    updated: float = 0.0

    def line(self) -> str:
        """The line a person reads, e.g. `EXP-P1V-1  train 3/4  video_top1 0.700  ETA 12 s`."""
        parts = [self.run, f"{self.stage} {self.epoch}/{self.epochs}"]
        if self.value is not None:
            parts.append(f"{self.metric} {self.value:.3f}")
        if self.eta_s is not None:
            parts.append(f"ETA {self.eta_s:.0f} s")
        return "  ".join(parts)


def progress_writer(path: Path | str, clock: Callable[[], float] = time.time) -> Callable[[Progress], None]:
    """Return a function that writes a `Progress` to `path`, at most once a second, and always the last."""
    last_written = -MIN_INTERVAL_S

    def write(progress: Progress) -> None:
        nonlocal last_written
        now = clock()
        if now - last_written < MIN_INTERVAL_S and progress.epoch < progress.epochs:
            return
        write_text(path, json.dumps(asdict(replace(progress, updated=now))) + "\n")
        last_written = now

    return write


def with_progress(items: Sequence[Item], run: str, stage: str, path: Path | None = None) -> Iterator[Item]:
    """The items one by one, with a bar if standard error is a terminal and news in `path` if one is given."""
    write = progress_writer(path) if path is not None else None
    began = time.time()
    for done, item in enumerate(with_bar(items, f"{run} {stage}"), start=1):
        yield item
        if write is not None:
            eta_s = (time.time() - began) / done * (len(items) - done)
            write(Progress(run, stage, done, len(items), eta_s=round(eta_s, 1)))


def with_bar(items: Iterable[Item], description: str) -> Iterable[Item]:
    """The items, with a bar that vanishes at the end if standard error is a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description, console=Console(stderr=True), transient=True)


def read_progress(root: Path | str) -> dict[Path, Progress]:
    """Read every `progress*.json` of jobs under `root`; a file caught mid-replacement is left for the next look."""
    found = {}
    paths = [path for pattern in PLACES for path in Path(root).glob(pattern)]
    for path in sorted(paths):
        try:
            found[path] = Progress(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue
    return found


def print_news(root: Path | str, stream: Stream, seen: dict[Path, float]) -> None:
    """Print one line for each progress file that changed since `seen`, which is updated."""
    for path, progress in read_progress(root).items():
        if progress.updated > seen.get(path, 0.0):
            seen[path] = progress.updated
            print(f"  {progress.line()}", file=stream, flush=True)


def watch_in_background(roots: Sequence[Path | str], stream: Stream) -> Callable[[], None]:
    """Print news from all jobs under `roots` from a daemon thread; return the function that stops it.

    On a terminal news appear within a second; elsewhere (a log file) every 30 s.
    """
    stop = threading.Event()
    seen = {path: news.updated for root in roots for path, news in read_progress(root).items()}
    interval_s = 1.0 if stream.isatty() else 30.0

    def watch() -> None:
        while not stop.wait(interval_s):
            for root in roots:
                print_news(root, stream, seen)

    threading.Thread(target=watch, daemon=True).start()
    return stop.set
