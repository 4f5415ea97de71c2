"""From an instance file to an answer file."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int

from ..artifacts import read_json, write_json, write_text
from ..errors import DataError
from .figures import gantt_svg, incumbent_svg
from .instance import read_instance
from .objective import Objective
from .strategies import Strategy, solve_instance


def solve_file(
    instance: Path,
    out: Path,
    objective: str,
    strategy: str,
    time_limit: float,
    iterations: int | None,
    seed: int,
    warm_start: Path | None,
    pictures: Path | None,
) -> str:
    """Solve, write the answer (and pictures), and return the line to print.

    An instance that no mapping fits is an answer too: `mapping` is null and `reason` says why.

    Raises:
        DataError: the instance is unusable, or it has no mapping (after the answer was written).
        ConfigError: a bad objective, strategy or limit.
    """
    problem = read_instance(instance)
    solution = solve_instance(
        problem,
        cast(Objective, objective),
        cast(Strategy, strategy),
        seconds=time_limit,
        iterations=iterations,
        seed=seed,
        warm_start=None if warm_start is None else read_mapping(warm_start),
    )
    write_json(out, solution.fields(problem))
    if solution.mapping is None:
        raise DataError(f"{instance}: {solution.reason}")
    if pictures is not None:
        write_text(pictures / "gantt.svg", gantt_svg(problem, solution.mapping))
        write_text(pictures / "incumbent.svg", incumbent_svg(solution))
    return (
        f"{instance} | {objective} {solution.value_ms:.6g} ms, bound {solution.lower_bound_ms:.6g} ms, "
        f"gap {100 * solution.gap:.2f} % | {solution.strategy}, {solution.seconds:.2f} s "
        f"(+ {solution.seconds_startup:.2f} s start-up) | output {out}"
    )


def read_mapping(path: Path) -> Int[np.ndarray, " K"]:
    """The `mapping` of an answer file.

    Raises:
        DataError: there is none.
    """
    fields = read_json(path)
    mapping = fields.get("mapping") if isinstance(fields, dict) else None
    if not isinstance(mapping, list) or not all(isinstance(slot, int) for slot in mapping):
        raise DataError(f"{path}: has no `mapping` list of slot numbers")
    return np.array(mapping, dtype=np.int64)
