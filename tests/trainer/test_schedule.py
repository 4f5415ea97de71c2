"""The learning rate rises to its peak, then falls to its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.trainer.schedule import learning_rate_factor


@given(st.integers(0, 20), st.integers(2, 200), st.floats(0, 1))
def test_rises_then_falls_within_bounds(warmup: int, cosine: int, final: float) -> None:
    total = warmup + cosine
    factors = [learning_rate_factor(step, total, warmup, final) for step in range(total)]
    assert all(0 < factor <= 1 + 1e-12 or final == 0 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup] == pytest.approx(1.0)
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert factors[-1] == pytest.approx(final)
