"""The loss terms do what the plan wants of them, where its own forms could not."""

from __future__ import annotations

import pytest
import torch

from pipeline.cascade.losses import (
    class_weights,
    complex_loss,
    routing_loss,
    simple_loss,
    soft_route,
    sparsity_loss,
)

LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])


def test_classes_weigh_the_same():
    weights = class_weights(LABELS)
    assert (weights[0] * 6).item() == pytest.approx((weights[1] * 2).item())
    assert class_weights(torch.zeros(4, dtype=torch.long))[1] == 0


def test_sparsity_has_a_gradient_where_an_l1_norm_has_none():
    logits = torch.tensor([0.3, 0.1, -0.2], requires_grad=True)
    sparsity_loss(torch.softmax(logits, 0)).backward()
    assert logits.grad.abs().max() > 1e-3
    plain = torch.tensor([0.3, 0.1, -0.2], requires_grad=True)
    torch.softmax(plain, 0).abs().sum().backward()
    assert plain.grad.abs().max() < 1e-6


def test_sparsity_is_zero_for_one_electrode_and_finite_at_masked_ones():
    assert sparsity_loss(torch.tensor([0.0, 1.0, 0.0])) == 0
    logits = torch.tensor([float("-inf"), 0.0, 1.0], requires_grad=True)
    sparsity_loss(torch.softmax(logits, 0)).backward()
    assert logits.grad.isfinite().all()


def test_routing_costs_nothing_below_its_target():
    assert routing_loss(torch.full((8,), 0.04), 0.05) == 0
    assert routing_loss(torch.full((8,), 0.25), 0.05).item() == pytest.approx(0.04)


def test_routing_falls_as_the_margin_grows():
    logits = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    route = soft_route(logits, 2.0, 0.5)
    assert (route.diff() < 0).all()
    assert route[0] > 0.95
    assert route[2] < 0.05


def test_the_complex_model_learns_even_when_nothing_is_in_doubt():
    logits = torch.randn(8, 2, requires_grad=True)
    loss = complex_loss(logits, LABELS, class_weights(LABELS), torch.zeros(8), 0.2, 0.0)
    loss.backward()
    assert loss.isfinite()
    assert (logits.grad != 0).all()


def test_doubtful_windows_weigh_more_and_send_no_gradient_to_the_route():
    logits = torch.zeros(8, 2, requires_grad=True)
    route = torch.zeros(8, requires_grad=True)
    doubtful = route + torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
    complex_loss(logits, LABELS, torch.ones(2), doubtful, 0.2, 0.0).backward()
    assert (logits.grad[0].abs() / logits.grad[1].abs()).tolist() == pytest.approx([5.0, 5.0])
    assert route.grad is None


def test_an_ictal_window_moves_the_simple_loss_as_much_as_three_others_here():
    logits = torch.zeros(8, 2, requires_grad=True)
    simple_loss(logits, LABELS, class_weights(LABELS), 0.0).backward()
    assert (logits.grad[7, 0] / logits.grad[0, 1]).item() == pytest.approx(3.0)
