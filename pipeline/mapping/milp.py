"""The path formulation as a mixed-integer program, solved by HiGHS through SciPy: exact for small instances.

x[k, j] = segment k on slot j; y[k, i, j] = it passes from i to j. A path is a unit flow through the layers, so the
linear relaxation is as tight as the plain Lagrangian bound.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp
from scipy.sparse import coo_array, csr_array

from ..errors import ConfigError
from .bounds import ROUNDING, start_bound
from .instance import MappingInstance
from .objective import Objective, evaluate
from .solution import Solution

MAX_VARIABLES = 400_000


def _flow(K: int, S: int, columns: int) -> csr_array:
    """Rows: sum_j x[0, j] = 1; for all k, i: sum_j y[k, i, j] = x[k, i]; for all k, j: sum_i y[k, i, j] = x[k+1, j]."""
    rows, cols, values = [np.zeros(S, int)], [np.arange(S)], [np.ones(S)]
    slots = np.arange(S)
    for k in range(K - 1):
        y = K * S + k * S * S + slots[:, None] * S + slots  # [i, j]
        out_row = 1 + 2 * k * S + slots
        in_row = out_row + S
        rows += [np.repeat(out_row, S), out_row, np.tile(in_row, S), in_row]
        cols += [y.ravel(), k * S + slots, y.ravel(), (k + 1) * S + slots]
        values += [np.ones(S * S), -np.ones(S), np.ones(S * S), -np.ones(S)]
    shape = (1 + 2 * (K - 1) * S, columns)
    return csr_array(coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape))


def solve_milp(instance: MappingInstance, objective: Objective, seconds: float) -> Solution:
    """Solve by branch and cut within `seconds`; the bound is HiGHS's own.

    Raises:
        ConfigError: the program would have more than 400,000 variables.
    """
    K, S = instance.num_segments, instance.num_slots
    variables = K * S + (K - 1) * S * S
    if variables > MAX_VARIABLES:
        raise ConfigError(f"milp needs {variables} variables for K={K}, S={S} (at most {MAX_VARIABLES}); use portfolio")
    balanced = objective == "balanced"
    columns = variables + balanced  # the period is the last column
    possible = np.isfinite(instance.latency_ms) & (instance.memory_mb[:, None] <= instance.capacity_mb + 1e-6)
    latency = np.where(possible, instance.latency_ms, 0.0)
    sends = instance.send_ms_per_hop[:-1, None, None] * instance.hops  # [K-1, i, j]
    upper = np.concatenate([possible.ravel().astype(float), np.ones((K - 1) * S * S)] + [[np.inf]] * balanced)
    flow = _flow(K, S, columns)
    flow_sum = np.zeros(flow.shape[0])
    flow_sum[0] = 1.0
    x_slot = np.tile(np.arange(S), K)
    capacity = np.minimum(instance.capacity_mb, instance.memory_mb.sum())
    used = csr_array((np.repeat(instance.memory_mb, S), (x_slot, np.arange(K * S))), (S, columns))
    constraints = [LinearConstraint(flow, flow_sum, flow_sum), LinearConstraint(used, -np.inf, capacity)]
    price = np.zeros(columns)
    if balanced:
        price[-1] = 1.0
        y_slot = np.tile(np.repeat(np.arange(S), S), K - 1)
        rows = np.concatenate([x_slot, y_slot, np.arange(S)])
        cols = np.concatenate([np.arange(variables), np.full(S, variables)])
        values = np.concatenate([latency.ravel(), sends.ravel(), -np.ones(S)])
        constraints.append(LinearConstraint(csr_array((values, (rows, cols)), (S, columns)), -np.inf, 0.0))
    else:
        price[:variables] = np.concatenate([latency.ravel(), sends.ravel()])
    integrality = np.zeros(columns)
    integrality[: K * S] = 1
    answer = milp(
        price,
        integrality=integrality,
        bounds=Bounds(np.zeros(columns), upper),
        constraints=constraints,
        options={"time_limit": seconds, "mip_rel_gap": 1e-6},
    )
    return _solution(instance, objective, answer)


def _solution(instance: MappingInstance, objective: Objective, answer: OptimizeResult) -> Solution:
    K, S = instance.num_segments, instance.num_slots
    bound_ms = start_bound(instance, objective == "balanced").value_ms
    if answer.mip_dual_bound is not None and math.isfinite(answer.mip_dual_bound):
        # HiGHS keeps its constraints to within 1e-6; the bound is lowered by as much.
        bound_ms = max(bound_ms, float(answer.mip_dual_bound) * (1 - 1e-6) - ROUNDING)
    mapping = None if answer.x is None else answer.x[: K * S].reshape(K, S).argmax(1)
    value_ms = math.inf if mapping is None else evaluate(instance, mapping, objective)
    if math.isfinite(value_ms):
        return Solution(objective, "milp", mapping, value_ms, min(bound_ms, value_ms))
    if answer.status == 2:
        return Solution(
            objective, "milp", None, math.inf, math.inf, reason="no mapping can fit the capacities (proved)"
        )
    return Solution(objective, "milp", None, math.inf, bound_ms, reason=f"HiGHS found no mapping: {answer.message}")
