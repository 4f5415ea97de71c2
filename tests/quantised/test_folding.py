"""Folding changes the form of a net and not what it computes."""

from __future__ import annotations

import pytest
import torch

from pipeline.cascade.cascade_models import SIMPLE_VARIANTS
from pipeline.quantised.folding import fold_complex, fold_simple, run_nodes
from tests.quantised.made_up import MASKED, made_up_cascade, made_up_signal


@pytest.mark.parametrize("variant", SIMPLE_VARIANTS)
@torch.no_grad()
def test_a_folded_simple_path_gives_the_trained_logits(variant):
    cascade, signal = made_up_cascade(variant), made_up_signal()
    folded = run_nodes(fold_simple(cascade), signal)["classifier"][:, :, 0]
    torch.testing.assert_close(folded, cascade.simple_logits(signal), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_folded_complex_net_gives_the_trained_logits_and_ignores_masked_electrodes():
    cascade, signal = made_up_cascade("C"), made_up_signal()
    nodes = fold_complex(cascade)
    folded = run_nodes(nodes, signal)["classifier"]
    torch.testing.assert_close(folded[:, :, 0], cascade.complex_logits(signal), rtol=1e-4, atol=1e-5)
    signal[:, MASKED] = 1e3
    assert torch.equal(run_nodes(nodes, signal)["classifier"], folded)
