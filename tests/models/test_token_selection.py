from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.models.token_selection import frame_uniform, kept_count, random_scores, select_top, threshold_slope


@pytest.mark.parametrize(
    ("share", "tokens", "expected"), [(0.0, 392, 1), (0.002, 392, 1), (0.5, 392, 196), (1.0, 392, 392), (0.5, 5, 3)]
)
def test_kept_counts(share: float, tokens: int, expected: int) -> None:
    assert kept_count(share, tokens) == expected


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_exactly_k_of_the_highest_whatever_the_ties(data: st.DataObject) -> None:
    batch, tokens = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 30))
    k = data.draw(st.integers(1, tokens))
    values = data.draw(st.lists(st.integers(0, 3), min_size=batch * tokens, max_size=batch * tokens))
    scores = torch.tensor(values, dtype=torch.float32).view(batch, tokens)
    chosen = select_top(scores, k)
    assert (chosen.kept.sum(dim=1) == k).all()
    assert (chosen.index.diff(dim=1) > 0).all()
    for row in range(batch):
        inside, outside = scores[row][chosen.kept[row]], scores[row][~chosen.kept[row]]
        assert outside.numel() == 0 or inside.min() >= outside.max()
        assert torch.equal(chosen.kept[row].nonzero().flatten(), chosen.index[row])
        # Among equal scores the first places win.
        tied = (scores[row] == inside.min()).nonzero().flatten()
        kept_tied = chosen.kept[row][tied]
        assert (kept_tied.int().diff() <= 0).all()
    assert (chosen.threshold <= scores.gather(1, chosen.index).amin(dim=1)).all()


def test_threshold_lies_midway() -> None:
    chosen = select_top(torch.tensor([[0.1, 0.9, 0.5, 0.3]]), 2)
    assert chosen.threshold.item() == pytest.approx(0.4)


def test_slope_is_that_of_the_quantile_function() -> None:
    """Of uniform scores in [0, 1] the threshold that keeps a share r is 1 - r."""
    ordered = torch.linspace(1, 0, 401)[None]
    assert threshold_slope(ordered, 200).item() == pytest.approx(-1.0, rel=0.01)


def test_frame_uniform_takes_equally_many_of_each_frame() -> None:
    scores = torch.randn(3, 4, 9)
    scores[:, 2] += 10
    for k in (4, 12, 14):
        kept = select_top(frame_uniform(scores).flatten(1), k).kept.unflatten(1, (4, 9))
        counts = kept.sum(dim=2)
        assert (counts.amax(dim=1) - counts.amin(dim=1) <= 1).all()
        inside = scores.masked_fill(~kept, torch.inf).amin(dim=2)
        outside = scores.masked_fill(kept, -torch.inf).amax(dim=2)
        assert (inside >= outside).all()


def test_random_scores_are_one_pattern_in_evaluation_and_many_in_training() -> None:
    scores = torch.zeros(2, 3, 4)
    fixed = random_scores(scores, training=False)
    assert torch.equal(fixed, random_scores(scores, training=False))
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.equal(random_scores(scores, training=True), random_scores(scores, training=True))
