"""Contrast of every colour pair that carries text or marks."""

from __future__ import annotations

import pytest

from pipeline.report.theme import DARK, LIGHT


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mixed(over: str, under: str, share: float) -> str:
    """`over` painted on `under` with opacity `share`."""
    parts = [round(share * int(over[k : k + 2], 16) + (1 - share) * int(under[k : k + 2], 16)) for k in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_reaches_four_and_a_half_to_one(theme: dict[str, str]) -> None:
    for background in ("bg", "panel"):
        for ink in ("ink", "muted", "accent", "better", "worse"):
            assert contrast(theme[ink], theme[background]) >= 4.5, (ink, background)
    assert contrast(theme["ink"], theme["warning"]) >= 4.5
    darkest_cell_of_a_confusion_matrix = mixed(theme["accent"], theme["bg"], 0.5)
    assert contrast(theme["ink"], darkest_cell_of_a_confusion_matrix) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_reach_three_to_one(theme: dict[str, str]) -> None:
    for k in range(1, 9):
        assert contrast(theme[f"c{k}"], theme["bg"]) >= 3.0
