"""From an instance file to a solution file and a picture: what `scripts.place_chips` calls."""

from __future__ import annotations

from pathlib import Path

from ..artifacts import write_json, write_text
from .instance import read_layout_instance
from .place import place_chips
from .wafer_map import wafer_map_svg


def place_file(
    source: Path,
    out: Path,
    *,
    time_limit_s: float,
    iterations: int | None,
    seed: int,
    rotate: bool,
    svg: Path | None,
) -> None:
    """Place the chips of `source`, write the solution to `out` and a wafer map to `svg`; one line says the result.

    Raises:
        DataError: the instance cannot be used or placed.
        ConfigError: a limit, seed or number of iterations that cannot be used.
    """
    instance = read_layout_instance(source)
    result = place_chips(instance, time_limit_s, seed, rotate, iterations=iterations)
    write_json(out, result.record())
    if svg is not None:
        write_text(svg, wafer_map_svg(instance.turned(result.rotated), result.pos_mm, standalone=True))
    placed = result.score
    print(
        f"{instance.num_chips} chips placed legally: J {placed.cost:.4f}, wire {placed.wl_mm:.1f}, peak "
        f"{placed.t_peak_c:.1f} degC, {result.iterations} moves in {result.seconds:.2f} s "
        f"(start-up {result.seconds_startup:.2f} s)"
    )
    if result.hurried:
        print(f"cut short to keep {time_limit_s:g} s: another run may differ; a longer limit makes it repeatable")
