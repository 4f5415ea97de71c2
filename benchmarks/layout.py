"""Legal layouts against the best known and against annealing: `python -m benchmarks.layout --json OUT`.

Every layout instance of REFERENCE_DATA/mapping, one thread, solver seconds; start-up (loading or compiling the search)
is a figure of its own. Three seeds an instance: the gap is the worst of them. Legality and J come from the reference
evaluator beside the instances. Baselines: annealing over legal layouts only, 3 s of it, with our own moves and from
our own start (so that only the passing of chips through each other differs); the 3 s annealing kept in the instance;
annealed penalties by gradient followed by our legaliser.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Figure, parse_json_flag, report
from pipeline.command_line import exit_code
from pipeline.errors import DataError
from pipeline.layout.anneal_arrays import problem_of, state_of
from pipeline.layout.gradient import place_by_gradient
from pipeline.layout.instance import LayoutInstance, read_layout_instance
from pipeline.layout.place import place_chips
from pipeline.layout.search import Budget, Candidate, Schedule, anneal, plan_of
from pipeline.layout.start import legal_start

SEEDS = (0, 1, 2)
LIMIT_S = 10.0
ANNEALING_S = 3.0
PROBE_MOVES = 50_000


@dataclass(frozen=True)
class Row:
    """What was measured on one instance; J values by the reference evaluator."""

    name: str
    num_chips: int
    best: float
    ours: list[float]
    seconds: list[float]
    seconds_startup: float
    hurried: bool
    annealed: float
    kept_annealing: float
    gradient: float


def main() -> None:
    """Measure every instance and report."""
    arguments = parse_json_flag(__doc__ or "")
    root = os.environ.get("REFERENCE_DATA")
    folder = Path(root or ".") / "mapping"
    paths = sorted(folder.glob("lay*.json"))
    if root is None or not paths:
        raise DataError(f"REFERENCE_DATA is {root}: must name the folder that holds mapping/lay*.json")
    torch.set_num_threads(1)
    evaluate = _evaluator(folder / "evaluate.py")
    print(
        f"{'instance':<18}{'n':>4}{'best J':>9}{'ours J (seeds ' + str(SEEDS) + ')':>28}{'worst gap':>11}{'s':>6}"
        f"{'SA 3 s':>9}{'SA kept':>9}{'gradient':>10}{'hurried':>9}"
    )
    rows = []
    for path in paths:
        r = measure(path, evaluate)
        rows.append(r)
        ours = " ".join(f"{value:.4f}" for value in r.ours)
        print(
            f"{r.name:<18}{r.num_chips:>4}{r.best:>9.4f}{ours:>28}{gap_percent(r):>10.2f}%{max(r.seconds):>6.1f}"
            f"{r.annealed:>9.4f}{r.kept_annealing:>9.4f}{r.gradient:>10.4f}{r.hurried!s:>9}",
            flush=True,
        )
    print()
    report([*figures_of(rows), determinism(paths[-1])], arguments.json)


def measure(path: Path, evaluate: Any) -> Row:
    """Our three seeds and the three baselines on one instance."""
    content, instance = json.loads(path.read_text()), read_layout_instance(path)

    def exact(pos_mm: np.ndarray) -> float:
        return float(evaluate.eval_layout(content, pos_mm)["J"])

    results = [place_chips(instance, LIMIT_S, seed) for seed in SEEDS]
    placed = place_by_gradient(instance)
    return Row(
        name=path.stem,
        num_chips=instance.num_chips,
        best=content["best"]["J"],
        ours=[exact(result.pos_mm) for result in results],
        seconds=[result.seconds for result in results],
        seconds_startup=results[0].seconds_startup,
        hurried=any(result.hurried for result in results),
        annealed=exact(anneal_legally(instance)),
        kept_annealing=content["baseline"]["sa_3s_best_of_3"],
        gradient=float("inf") if placed is None else exact(placed),
    )


def anneal_legally(instance: LayoutInstance) -> np.ndarray:
    """The peer: annealing that never leaves the legal layouts, from shelves, sized by a probe to 3 seconds."""
    start = legal_start(instance)
    if start is None:
        raise DataError(f"{instance.name}: shelves cannot hold the chips, so plain annealing has no start")
    problem = problem_of(instance)
    plan = plan_of(instance, problem)
    legal = Schedule(hot=plan.passing.hot, cold=plan.refining.cold, price_first=np.inf, price_last=np.inf)

    def run(moves: int) -> Candidate:
        best = Candidate(np.zeros((4, instance.num_chips)))
        anneal(problem, state_of(instance, start), legal, moves, [0], best, Budget(0.0, float("inf"), moves))
        return best

    begin = time.perf_counter()
    run(PROBE_MOVES)
    return run(int(PROBE_MOVES * ANNEALING_S / (time.perf_counter() - begin))).pos_mm


def determinism(path: Path) -> Figure:
    """Share of coordinates that two runs of one seed have in common, bit for bit."""
    instance = read_layout_instance(path)
    one, two = (place_chips(instance, seed=7, iterations=300_000).pos_mm for _ in range(2))
    return Figure("same seed, same layout", float(np.mean(one == two)), "share", 1.0, "higher")


def figures_of(rows: list[Row]) -> list[Figure]:
    """The bars: legal, gap by size, seconds, and better than annealing from 32 chips on."""
    figures = []
    for r in rows:
        legal = float(np.isfinite(r.ours).mean())
        figures += [
            Figure(f"{r.name} legal", legal, "share", 1.0, "higher"),
            Figure(f"{r.name} above best known", gap_percent(r), "%", gap_bar(r.num_chips), "lower"),
            Figure(f"{r.name} seconds", max(r.seconds), "s", LIMIT_S, "lower"),
            Figure(f"{r.name} start-up", r.seconds_startup, "s", 120.0, "lower"),
        ]
        if r.num_chips >= 32:
            figures += [
                Figure(f"{r.name} J over 3 s annealing", max(r.ours) / r.annealed, "ratio", 1.0, "lower"),
                Figure(f"{r.name} J over kept annealing", max(r.ours) / r.kept_annealing, "ratio", 1.0, "lower"),
            ]
    return figures


def gap_percent(row: Row) -> float:
    """The worst seed's J above the best known, per cent."""
    return 100 * (max(row.ours) / row.best - 1)


def gap_bar(num_chips: int) -> float:
    """Per cent above the best known that the bar allows."""
    return 5.0 if num_chips <= 16 else 10.0 if num_chips <= 36 else 15.0


def _evaluator(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("reference_evaluate", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: the reference evaluator is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(exit_code(main))
