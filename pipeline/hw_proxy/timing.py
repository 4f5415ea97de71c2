"""Fair timing of one operation: warm-up, many repeats, the median and its spread; and the energy counter of the CPU."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
WARM_UPS = 3
FEWEST_REPEATS = 5
SLOW = 4.0
MAX_REPEATS = 2000


@dataclass(frozen=True)
class Timing:
    """Repeated wall times of one operation, in ms, and its energy per run where a counter could be read."""

    median_ms: float
    iqr_ms: float
    lowest_ms: float
    highest_ms: float
    repeats: int
    energy_j: float | None

    @property
    def spread(self) -> float:
        """Interquartile range over median."""
        return self.iqr_ms / self.median_ms


def measure(
    operation: Callable[[], object],
    synchronise: Callable[[], object] = lambda: None,
    *,
    repeats: int = 20,
    seconds: float = 0.3,
    clock: Callable[[], float] = time.perf_counter,
    energy_j: Callable[[], float | None] = lambda: None,
) -> Timing:
    """Time `operation` at least `repeats` times and for at least `seconds`, after three runs that do not count.

    Four times `seconds` is the limit for an operation too slow for that many repeats; five are always made.

    Args:
        synchronise: waits until the device has finished; called inside the timed span.
        energy_j: reads a running energy counter in joules, or None where there is none.
    """
    for _ in range(WARM_UPS):
        operation()
    synchronise()
    times_ms: list[float] = []
    limit_s = SLOW * seconds if seconds > 0.0 else math.inf
    before_j = energy_j()
    began = clock()
    while len(times_ms) < MAX_REPEATS:
        elapsed = clock() - began
        enough = len(times_ms) >= repeats and elapsed >= seconds
        if enough or (len(times_ms) >= FEWEST_REPEATS and elapsed >= limit_s):
            break
        start = clock()
        operation()
        synchronise()
        times_ms.append(1e3 * (clock() - start))
    after_j = energy_j()
    used_j = None if before_j is None or after_j is None or after_j < before_j else after_j - before_j
    quarter, median, three_quarters = statistics.quantiles(times_ms, n=4, method="inclusive")
    return Timing(
        median_ms=median,
        iqr_ms=three_quarters - quarter,
        lowest_ms=min(times_ms),
        highest_ms=max(times_ms),
        repeats=len(times_ms),
        energy_j=None if used_j is None else used_j / len(times_ms),
    )


def package_energy_j(root: Path = POWERCAP) -> float | None:
    """The sum of the processor packages' running energy counters (RAPL), or None where they cannot be read."""
    total, found = 0.0, False
    for package in sorted(root.glob("intel-rapl:*")):
        if package.name.count(":") != 1:  # parts of a package would count twice
            continue
        try:
            total += int((package / "energy_uj").read_text()) / 1e6
            found = True
        except (OSError, ValueError):
            return None
    return total if found else None
