from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.gates import INITIAL_LOGIT, GateValues, gate_value, settle


def test_a_new_gate_passes_one_soft_or_hard() -> None:
    logit = torch.full((2, 3), INITIAL_LOGIT)
    assert torch.equal(gate_value(logit, soft=False), torch.ones(2, 3))
    torch.testing.assert_close(gate_value(logit, soft=True), torch.ones(2, 3))


def test_hard_gates_are_exact_and_have_the_gradient_of_the_sigmoid() -> None:
    logit = torch.tensor([[-2.0, -0.01, 0.0, 0.01, 5.0]], requires_grad=True)
    value = gate_value(logit, soft=False)
    assert value.tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0]]
    value.sum().backward()
    probability = logit.detach().sigmoid()
    torch.testing.assert_close(logit.grad, probability * (1 - probability))


def test_a_branch_with_nothing_open_inside_is_closed() -> None:
    values = GateValues(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0], [0.0]]), torch.ones(2, 2))
    first, second = values.of_blocks()
    assert (first.attention.item(), first.mlp.item()) == (0.0, 1.0)
    assert (second.attention.item(), second.mlp.item()) == (1.0, 0.0)
    assert values.sparsity()["head"].item() == pytest.approx(0.75)


@settings(max_examples=60, deadline=None)
@given(gates=st.integers(1, 60), target=st.floats(0, 1), off=st.integers(-1, 1), seed=st.integers(0, 99))
def test_settling_closes_the_lowest_and_is_idempotent(gates: int, target: float, off: int, seed: int) -> None:
    wanted = round(target * gates)
    closed = min(gates, max(0, wanted + off))
    logit = torch.rand(gates, generator=torch.Generator().manual_seed(seed)).sort().values + 0.01
    logit[:closed] -= 2.0
    logit = logit.view(1, -1)
    settle(logit, target)
    assert int((logit <= 0).sum()) == wanted
    assert (logit.flatten().sort().values == logit.flatten()).all()
    again = logit.clone()
    settle(again, target)
    assert torch.equal(again, logit)


def test_far_more_closed_gates_than_targeted_stay_closed() -> None:
    logit = -torch.ones(1, 20)
    settle(logit, 0.5)
    assert torch.equal(logit, -torch.ones(1, 20))


def test_too_few_closed_gates_are_made_up_for_by_rank() -> None:
    logit = torch.linspace(0.5, 3.0, 20).view(1, -1)
    settle(logit, 0.5)
    assert (logit.flatten()[:10] < 0).all()
    assert (logit.flatten()[10:] > 0).all()
