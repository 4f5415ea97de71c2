"""The pictures: well-formed SVG whose bars are to scale."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.mapping.figures import gantt_svg, incumbent_svg, round_ticks
from pipeline.mapping.objective import slot_table
from pipeline.mapping.solution import Solution
from pipeline.mapping.strategies import solve_instance
from pipeline.mapping.synthetic import random_instance


def test_gantt_bars_are_to_scale() -> None:
    """The widths of all bars add up to the busy time, at one scale for all slots."""
    instance = random_instance(10, 4, 0, tightness=0.3)
    mapping = np.arange(10) % 4
    picture = gantt_svg(instance, mapping)
    ElementTree.fromstring(picture)
    bars = re.findall(r'width="([\d.]+)" height="18.0"[^>]*><title>segment \d+: \w+ ([\d.e+-]+) ms', picture)
    scales = [float(width) / float(duration) for width, duration in bars]
    assert len(bars) >= 10
    assert max(scales) == pytest.approx(min(scales), rel=0.01)
    assert sum(float(duration) for _, duration in bars) == pytest.approx(
        slot_table(instance, mapping).busy_ms.sum(), rel=1e-3
    )


def test_incumbent_picture_of_a_solve_and_of_none() -> None:
    """A solved instance and one without a mapping both give well-formed pictures."""
    solution = solve_instance(random_instance(20, 4, 0), "serial", iterations=20_000)
    ElementTree.fromstring(incumbent_svg(solution))
    empty = Solution("serial", "portfolio", None, np.inf, np.inf, reason="none")
    assert "no mapping found" in incumbent_svg(empty)


@pytest.mark.parametrize(("top", "ticks"), [(1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.0, [0]), (13.0, [0, 5, 10])])
def test_ticks_are_round(top: float, ticks: list[float]) -> None:
    """Steps of 1, 2 or 5 times a power of ten."""
    assert round_ticks(top) == pytest.approx(ticks)
