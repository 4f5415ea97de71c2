"""Lower bounds by Lagrangian duality (capacities and, for `balanced`, the maximum over slots are dualised).

serial:   max over price >= 0 of the min over paths of  sum_j busy_j + price_j (used_j - capacity_j)
balanced: max over price >= 0 and weight in the simplex of the min over paths of
          sum_j weight_j busy_j + price_j (used_j - capacity_j)

Both inner minima run over the paths of `path_dp`, which every feasible mapping (better than the period limit) is one
of, so each evaluation is a valid bound. The multipliers follow Polyak's subgradient step with deflection
(Held, Wolfe, Crowder 1974; Camerini, Fratta, Maffioli 1975).
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

from .path_dp import cheapest_path

PATIENCE, SHRINK, MOMENTUM = 10, 0.8, 0.7


@numba.njit(cache=True)
@no_type_check
def project_to_simplex(weight):
    """Euclidean projection onto {w >= 0, sum w = 1}, in place (Held, Wolfe, Crowder 1974)."""
    ordered = np.sort(weight)[::-1]
    total, threshold = 0.0, 0.0
    for n in range(ordered.size):
        total += ordered[n]
        candidate = (total - 1.0) / (n + 1)
        if ordered[n] > candidate:
            threshold = candidate
    for j in range(weight.size):
        weight[j] = max(0.0, weight[j] - threshold)


@numba.njit(cache=True)
@no_type_check
def step(
    latency,
    memory,
    capacity,
    send,
    hops,
    balanced,
    path,
    value,
    price,
    weight,
    best_price,
    best_weight,
    moment,
    state,
    target,
):
    """Judge the sub-problem's answer and move the multipliers, in place; return False at a stationary point.

    `value` is the path's priced cost without the capacity term, `target` the best value known, `state` = [best bound,
    step length factor, steps without gain], `moment` [2, S] the deflected directions of price and weight.
    """
    K, S = latency.shape
    for j in range(S):
        value -= price[j] * capacity[j]
    if value > state[0]:
        if value > state[0] + 1e-4 * abs(target - state[0]):
            state[2] = 0
        state[0] = value
        best_price[:] = price
        best_weight[:] = weight
    else:
        state[2] += 1
    if state[2] >= PATIENCE:
        state[1] *= SHRINK
        state[2] = 0
        if state[1] < 1e-3:  # start afresh from the best point
            state[1] = 0.5
            price[:] = best_price
            weight[:] = best_weight
            moment[:] = 0.0
            return True
    used, busy = np.zeros(S), np.zeros(S)
    for k in range(K):
        used[path[k]] += memory[k]
        busy[path[k]] += latency[k, path[k]]
        if k + 1 < K:
            busy[path[k]] += send[k] * hops[path[k], path[k + 1]]
    mean, norm = busy.mean(), 0.0
    for j in range(S):
        if capacity[j] > 0.0:
            moment[0, j] = (used[j] - capacity[j]) / capacity[j] + MOMENTUM * moment[0, j]
            if price[j] == 0.0 and moment[0, j] < 0.0:
                moment[0, j] = 0.0
            norm += moment[0, j] ** 2
        if balanced:
            moment[1, j] = (busy[j] - mean) / target + MOMENTUM * moment[1, j]
            if weight[j] == 0.0 and moment[1, j] < 0.0:
                moment[1, j] = 0.0
            norm += moment[1, j] ** 2
    if norm == 0.0:
        return False
    length = state[1] * max(target - value, 1e-9 * target) / norm
    for j in range(S):
        if capacity[j] > 0.0:
            price[j] = max(0.0, price[j] + length * moment[0, j] / capacity[j])
        if balanced:
            weight[j] += length / target * moment[1, j]
    if balanced:
        project_to_simplex(weight)
    return True


def ascend(
    latency: Float[np.ndarray, "K S"],
    memory: Float[np.ndarray, " K"],
    capacity: Float[np.ndarray, " S"],
    send: Float[np.ndarray, " K"],
    hops: Float[np.ndarray, "S S"],
    first: Int[np.ndarray, "K S"],
    balanced: bool,
    price: Float[np.ndarray, " S"],
    weight: Float[np.ndarray, " S"],
    best_price: Float[np.ndarray, " S"],
    best_weight: Float[np.ndarray, " S"],
    path: Int[np.ndarray, " K"],
    moment: Float[np.ndarray, "2 S"],
    state: Float[np.ndarray, " 3"],
    target: float,
    steps: int,
) -> float:
    """Take `steps` subgradient steps from (`price`, `weight`), in place; return the best bound of them all.

    `best_price` and `best_weight` become those of the best bound, `path` the last sub-problem's answer; the bound is
    infinite if no path is left at all.
    """
    capacity = np.minimum(capacity, memory.sum())
    for _ in range(steps):
        value = cheapest_path(latency, memory, send, hops, first, price, weight, path)
        if value == np.inf:
            state[0] = np.inf
            break
        if not step(
            latency, memory, capacity, send, hops, balanced, path, value, price, weight, best_price, best_weight,
            moment, state, target,
        ):  # fmt: skip
            break
    return float(state[0])
