"""Window scores against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.cascade.window_scores import auc, average_precision, balanced_accuracy

metrics = pytest.importorskip("sklearn.metrics")


@given(
    st.integers(2, 60).flatmap(
        lambda n: st.tuples(
            arrays(np.int64, n, elements=st.integers(0, 9)), arrays(np.int64, n, elements=st.integers(0, 1))
        )
    )
)
def test_scores_equal_scikit_learns(rows):
    score, label = rows[0].astype(np.float64), rows[1]
    if label.min() == label.max():
        assert np.isnan(auc(score, label))
        assert np.isnan(balanced_accuracy(score > 4, label))
        return
    assert auc(score, label) == pytest.approx(metrics.roc_auc_score(label, score))
    assert average_precision(score, label) == pytest.approx(metrics.average_precision_score(label, score))
    assert balanced_accuracy(score > 4, label) == pytest.approx(metrics.balanced_accuracy_score(label, score > 4))
