"""The threshold on validation against brute force, and its place in the bias."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.cascade.decision_bias import best_offset, centre_decision
from pipeline.cascade.window_scores import balanced_accuracy


@given(st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=2, max_size=40))
def test_no_threshold_is_better(rows):
    score = np.array([value for value, _ in rows], dtype=np.float64)
    label = np.array([int(ictal) for _, ictal in rows])
    if label.min() == label.max():
        return
    offset = best_offset(score, label)
    best = max(balanced_accuracy(score > threshold, label) for threshold in np.arange(-7.5, 8))
    assert balanced_accuracy(score > offset, label) >= best - 1e-12


def test_the_gap_between_separable_classes_is_halved():
    assert best_offset(np.array([-1.0, 0.0, 3.0, 4.0]), np.array([0, 0, 1, 1])) == 1.5


def test_a_classifier_is_shifted_to_split_at_zero():
    torch.manual_seed(0)
    classifier = nn.Linear(3, 2)
    inputs = torch.randn(50, 3)
    logits = classifier(inputs).detach()
    label = (logits[:, 1] - logits[:, 0] > 0.4).long().numpy()
    centre_decision(classifier, logits.numpy(), label)
    moved = classifier(inputs).detach()
    assert ((moved[:, 1] > moved[:, 0]).numpy() == (label == 1)).all()
    assert torch.allclose(moved.sum(1), logits.sum(1), atol=1e-6)
