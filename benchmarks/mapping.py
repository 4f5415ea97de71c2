"""The mapping engine on the reference instances: `python -m benchmarks.mapping [--json OUT] [--only TABLE]`.

Seconds are CPU seconds of the one solver thread, start-up apart, for us and for the rivals alike, so that other work
on the machine does not count. Instances lie in REFERENCE_DATA/mapping.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.artifacts import read_json
from pipeline.errors import DataError
from pipeline.mapping.instance import MappingInstance, read_instance
from pipeline.mapping.objective import Objective, evaluate
from pipeline.mapping.search import warm_up
from pipeline.mapping.strategies import OBJECTIVES, solve_instance
from pipeline.mapping.synthetic import random_instance

from .figures import Figure, report
from .mapping_rivals import cp_sat, has_cp_sat, plain_annealing

# (K, S): solver seconds, percent above the best known
BARS = {(24, 4): (2, 0.1), (24, 16): (5, 1), (24, 64): (5, 1), (48, 4): (5, 1), (48, 16): (5, 1), (48, 64): (15, 2),
        (200, 4): (15, 2), (200, 16): (15, 2), (200, 64): (30, 3)}  # fmt: skip

RIVAL_SEEDS = {1.0: 5, 5.0: 3}


def main() -> None:
    """Run the tables asked for and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", choices=["bars", "rivals", "scale"], help="one table instead of all")
    parser.add_argument("--rival-seconds", type=float, nargs="+", default=[1.0, 5.0, 20.0], help="limits (1 5 20)")
    arguments = parser.parse_args()
    tables = {"bars": quality, "rivals": lambda: rivals(arguments.rival_seconds), "scale": scale}
    startup_s = warm_up()
    print(f"start-up (compiling or loading kernels): {startup_s:.1f} s; figures below are CPU seconds of the solver")
    figures = [figure for name, table in tables.items() if arguments.only in (None, name) for figure in table()]
    report(figures, arguments.json)


def instances() -> Iterator[tuple[str, dict, MappingInstance]]:
    """The reference instances with their best known values.

    Raises:
        DataError: REFERENCE_DATA does not name their folder.
    """
    root = Path(os.environ.get("REFERENCE_DATA", ""))
    paths = sorted((root / "mapping").glob("map_*.json"))
    if not os.environ.get("REFERENCE_DATA") or not paths:
        raise DataError("set REFERENCE_DATA to the folder that holds mapping/map_*.json")
    for path in paths:
        yield path.stem.removeprefix("map_"), read_json(path), read_instance(path)


def quality() -> list[Figure]:
    """Each instance and objective within its time: percent above the best known, gap, and the bars."""
    figures = []
    print(f"{'instance':<12}{'objective':<10}{'limit s':>8}{'used s':>8}{'value':>12}{'best known':>12}{'above %':>9}"
          f"{'gap %':>8}{'its gap %':>10}  greedy_local +%")  # fmt: skip
    for name, fields, instance in instances():
        K, S = instance.num_segments, instance.num_slots
        for objective in OBJECTIVES:
            limit_s, bar = BARS.get((K, S), (2, 0.02))
            solution = solve_instance(instance, objective, seconds=limit_s, clock=time.process_time)  # type: ignore[arg-type]
            best, local = fields["best"][objective], fields["baseline"][objective]["greedy_local"]
            above = 100 * (solution.value_ms / best["value"] - 1)
            gap = 100 * solution.gap
            local_above = math.nan if local is None else 100 * (local / best["value"] - 1)
            print(f"{name:<12}{objective:<10}{limit_s:>8}{solution.seconds:>8.2f}{solution.value_ms:>12.5f}"
                  f"{best['value']:>12.5f}{above:>9.3f}{gap:>8.3f}{best['gap_pct']:>10.3f}  {local_above:.1f}",
                  flush=True)  # fmt: skip
            if K == 10:
                figures.append(Figure(f"{name} {objective}: proved gap in 2 s", gap, "%", 0.02, "lower"))
            figures.append(Figure(f"{name} {objective}: above best known in {limit_s} s", above, "%", bar, "lower"))
            if objective == "serial" and S == 4:
                figures.append(Figure(f"{name} serial: gap in {limit_s} s", gap, "%", 1.0, "lower"))
            if objective == "serial" and (K, S) == (200, 16):
                at_5 = solve_instance(instance, objective, seconds=5.0, clock=time.process_time)
                figures.append(Figure(f"{name} serial: gap in 5 s", 100 * at_5.gap, "%", 5.0, "lower"))
    return figures


def rivals(limits_s: list[float]) -> list[Figure]:
    """K >= 48 at each limit against CP-SAT and plain annealing: the better rival over us, at least 1.

    Searches are lucky or not within a second or five: ours and annealing are means over `RIVAL_SEEDS` seeds.
    """
    figures = []
    if not has_cp_sat():
        print("ortools is not installed (extra `bench`): CP-SAT is left out")
    print(f"{'instance':<12}{'objective':<10}{'s':>4}{'ours':>12}{'annealing':>12}{'CP-SAT':>12}  best rival / ours")
    for name, _, instance in instances():
        if instance.num_segments < 48:
            continue
        for objective in OBJECTIVES:
            kind: Objective = "serial" if objective == "serial" else "balanced"
            exact = cp_sat(instance, kind, limits_s) if has_cp_sat() else {}
            for seconds in limits_s:
                ours, annealing = over_seeds(instance, kind, seconds)
                theirs = min(annealing, exact.get(seconds, math.inf))
                print(f"{name:<12}{objective:<10}{seconds:>4.0f}{ours:>12.5f}{annealing:>12.5f}"
                      f"{exact.get(seconds, math.inf):>12.5f}  {theirs / ours:.4f}", flush=True)  # fmt: skip
                figures.append(Figure(f"{name} {objective} {seconds:.0f} s: best rival / ours",
                                      min(theirs / ours, 1e3), "x", 1.0 - 1e-9, "higher"))  # fmt: skip
    return figures


def over_seeds(instance: MappingInstance, objective: Objective, seconds: float) -> tuple[float, float]:
    """Mean values of ours and of plain annealing, in turns."""
    values = [
        (
            solve_instance(instance, objective, seconds=seconds, seed=seed, clock=time.process_time).value_ms,
            plain_annealing(instance, objective, seconds, seed),
        )
        for seed in range(RIVAL_SEEDS.get(seconds, 1))
    ]
    ours, annealing = np.mean(values, axis=0)
    return float(ours), float(annealing)


def scale() -> list[Figure]:
    """Growth in K and S (time of one dual step, moves per second, gap in 10 s), and K=2000, S=64 in 60 s."""
    print(f"{'K':>6}{'S':>5}{'seconds':>9}{'value':>12}{'gap %':>9}{'vs greedy_local %':>19}")
    for K, S, seconds in ((50, 16, 10), (200, 16, 10), (800, 16, 10), (200, 4, 10), (200, 64, 10), (800, 64, 10)):
        _scale_row(K, S, seconds)
    # A process of its own, so that its peak memory is its own.
    code = "import benchmarks.mapping as b; b.biggest()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    row, gap, seconds, memory_gb = done.stdout.strip().rsplit(" ", 3)
    print(row)
    return [
        Figure("K=2000, S=64: gap", float(gap), "%", 100.0, "lower"),
        Figure("K=2000, S=64: time", float(seconds), "s", 60.0, "lower"),
        Figure("K=2000, S=64: peak memory", float(memory_gb), "GB", 1.0, "lower"),
    ]


def _scale_row(K: int, S: int, seconds: float) -> tuple[float, float]:
    instance = random_instance(K, S)
    begin = time.process_time()
    solution = solve_instance(instance, "serial", seconds=seconds, clock=time.process_time)
    used_s = time.process_time() - begin
    local = solve_instance(instance, "serial", "greedy_local")
    ahead = 100 * (solution.value_ms / local.value_ms - 1)
    print(f"{K:>6}{S:>5}{solution.seconds:>9.1f}{solution.value_ms:>12.4f}{100 * solution.gap:>9.2f}{ahead:>19.1f}",
          end="\n" if K < 2000 else " ", flush=True)  # fmt: skip
    if solution.mapping is not None:
        assert evaluate(instance, solution.mapping, "serial") == solution.value_ms
    return 100 * solution.gap, used_s


def biggest() -> None:
    """Print the row of K=2000, S=64, then its gap (%), CPU seconds and peak memory (GB)."""
    gap, used_s = _scale_row(2000, 64, 58.0)
    memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{gap:.3f} {used_s:.2f} {memory_gb:.3f}")


if __name__ == "__main__":
    main()
