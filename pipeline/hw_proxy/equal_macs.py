"""A dense network as cheap as a pruned one: the control that pruning has to beat."""

from __future__ import annotations

from collections.abc import Callable

from .flops_estimator import EstimableModel, total_macs

CLOSE = 0.005


def equal_macs_sizes(
    build: Callable[[int, float], EstimableModel], widest: int, num_heads: int, mlp_ratio: float, macs: int
) -> tuple[int, float]:
    """Width and MLP ratio of the dense network whose multiply-accumulates come closest to `macs`.

    The width is the largest that does not exceed them with the given ratio (0.5 % over is let pass). Where that misses
    them by more than 0.5 %, the MLP is widened unit by unit, which moves the cost in smaller steps than a width can.

    Args:
        build: a network from its width and MLP ratio.
        widest: width to search below.
        num_heads: heads, of which the width is a multiple.
        mlp_ratio: hidden width of the MLP over the width, to start from.
        macs: per clip, to be matched.

    Raises:
        ValueError: even the narrowest network needs more.
    """
    widths = range(num_heads, widest + 1, num_heads)
    fitting = [width for width in widths if total_macs(build(width, mlp_ratio)) <= (1 + CLOSE) * macs]
    if not fitting:
        raise ValueError(f"macs={macs}: a network of width {num_heads} needs more already")
    width = fitting[-1]
    if total_macs(build(width, mlp_ratio)) >= (1 - CLOSE) * macs:
        return width, mlp_ratio
    start = round(width * mlp_ratio)
    candidates = [hidden / width for hidden in range(start, 2 * start)]
    return width, min(candidates, key=lambda ratio: abs(total_macs(build(width, ratio)) - macs))
