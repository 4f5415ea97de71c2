"""What the mapping engine is measured against: CP-SAT (ortools) and plain simulated annealing, one thread each."""

from __future__ import annotations

import importlib.util
import math
import threading
import time

import numba
import numpy as np

from pipeline.mapping.greedy import best_fit, greedy
from pipeline.mapping.instance import MappingInstance
from pipeline.mapping.objective import Objective, evaluate

UNITS_PER_MS = 100_000
MAX_PATH_VARIABLES = 60_000


@numba.njit(cache=True)
def _value(m, latency, send, hops, busy, balanced):  # type: ignore[no-untyped-def]
    busy[:] = 0.0
    for k in range(m.size):
        busy[m[k]] += latency[k, m[k]]
        if k + 1 < m.size:
            busy[m[k]] += send[k] * hops[m[k], m[k + 1]]
    return busy.max() if balanced else busy.sum()


@numba.njit(cache=True)
def _touch(m, k, sign, latency, send, hops, busy):  # type: ignore[no-untyped-def]
    """Add (or take away) what segment k puts on its own slot and on its predecessor's."""
    busy[m[k]] += sign * latency[k, m[k]]
    total = sign * latency[k, m[k]]
    if k + 1 < m.size:
        out = sign * send[k] * hops[m[k], m[k + 1]]
        busy[m[k]] += out
        total += out
    if k > 0:
        arrive = sign * send[k - 1] * hops[m[k - 1], m[k]]
        busy[m[k - 1]] += arrive
        total += arrive
    return total


@numba.njit(cache=True)
def _stretch(m, best, best_value, latency, memory, capacity, send, hops, balanced, hot, cold, moves, seed):  # type: ignore[no-untyped-def]
    np.random.seed(seed)
    K, S = latency.shape
    busy, used = np.zeros(S), np.zeros(S)
    for k in range(K):
        used[m[k]] += memory[k]
    value = _value(m, latency, send, hops, busy, balanced)
    over = 0.0
    for j in range(S):
        over += max(0.0, used[j] - capacity[j])
    for step in range(moves):
        temperature = hot * (cold / hot) ** (step / moves)
        k, other, swap = np.random.randint(K), np.random.randint(K), np.random.random() < 0.5
        i = m[k]
        j = m[other] if swap else np.random.randint(S)
        if i == j:
            continue
        before_over = max(0.0, used[i] - capacity[i]) + max(0.0, used[j] - capacity[j])
        shift = memory[k] - (memory[other] if swap else 0.0)
        after_over = max(0.0, used[i] - shift - capacity[i]) + max(0.0, used[j] + shift - capacity[j])
        if after_over > before_over + 1e-9:  # capacity is hard, once a slot holds what it can
            continue
        total = value
        total += _touch(m, k, -1.0, latency, send, hops, busy)
        m[k] = j
        total += _touch(m, k, 1.0, latency, send, hops, busy)
        if swap:
            total += _touch(m, other, -1.0, latency, send, hops, busy)
            m[other] = i
            total += _touch(m, other, 1.0, latency, send, hops, busy)
        new = busy.max() if balanced else total
        if new <= value or np.random.random() < math.exp((value - new) / temperature):
            value = new
            used[i] -= shift
            used[j] += shift
            over += after_over - before_over
            if value < best_value - 1e-12 and over <= 1e-6:
                best_value = value
                best[:] = m
            continue
        if swap:
            _touch(m, other, -1.0, latency, send, hops, busy)
            m[other] = j
            _touch(m, other, 1.0, latency, send, hops, busy)
        _touch(m, k, -1.0, latency, send, hops, busy)
        m[k] = i
        _touch(m, k, 1.0, latency, send, hops, busy)
    return best_value


def plain_annealing(instance: MappingInstance, objective: Objective, seconds: float, seed: int = 0) -> float:
    """Shift and swap moves on the objective itself, hard capacity, geometric cooling, greedy start; the value in ms."""
    start = greedy(instance, objective)
    m = best_fit(instance) if start is None else start
    best, value, unit_ms = m.copy(), evaluate(instance, m, objective), float(instance.latency_ms.mean())
    arguments = (instance.latency_ms, instance.memory_mb, instance.capacity_mb, instance.send_ms_per_hop, instance.hops)
    _stretch(m.copy(), m.copy(), value, *arguments, objective == "balanced", 1.0, 1.0, 1, 0)
    begin, used, moves, count = time.process_time(), 0.0, 2000, 0
    while used < 1.0:
        following = min(1.0, used + 0.02)
        count += 1
        value = _stretch(
            m, best, value, *arguments, objective == "balanced", 0.5 * unit_ms * 1e-3**used,
            0.5 * unit_ms * 1e-3**following, moves, seed * 10_007 + count,
        )  # fmt: skip
        share = (time.process_time() - begin) / seconds
        moves = max(500, int(moves * min(4.0, 0.02 / max(share - used, 1e-6))))
        used = share
    return evaluate(instance, best, objective)


def has_cp_sat() -> bool:
    """Whether ortools is installed (the `bench` extra)."""
    return importlib.util.find_spec("ortools") is not None


def cp_sat(instance: MappingInstance, objective: Objective, limits_s: list[float]) -> dict[float, float]:
    """Best value of CP-SAT's one worker at each limit of CPU seconds, building the model apart; in ms.

    Path model (x[k, j], y[k, i, j]) up to 60,000 transitions, else slot numbers with an element constraint per link.
    """
    from ortools.sat.python import cp_model

    model, x = _model(instance, objective)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    found: list[tuple[float, float]] = []

    class Recorder(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]
        def on_solution_callback(self) -> None:
            mapping = np.array([next(j for j, var in enumerate(row) if self.value(var)) for row in x])
            found.append((time.process_time() - begin, evaluate(instance, mapping, objective)))

    recorder = Recorder()
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.05):
            if time.process_time() - begin > max(limits_s):
                solver.stop_search()

    begin = time.process_time()
    watcher = threading.Thread(target=watch)
    watcher.start()
    solver.solve(model, recorder)
    finished.set()
    watcher.join()
    return {limit: min([value for at, value in found if at <= limit], default=math.inf) for limit in limits_s}


def _model(instance: MappingInstance, objective: Objective):  # type: ignore[no-untyped-def]
    from ortools.sat.python import cp_model

    K, S = instance.num_segments, instance.num_slots
    model = cp_model.CpModel()
    latency = np.rint(instance.latency_ms * UNITS_PER_MS).astype(int)
    send = np.rint(instance.send_ms_per_hop * UNITS_PER_MS).astype(int)
    hops = instance.hops.astype(int)
    memory = np.ceil(instance.memory_mb * 1000).astype(int)
    capacity = np.floor(np.minimum(instance.capacity_mb, instance.memory_mb.sum() + 1) * 1000).astype(int)
    x = [[model.new_bool_var("") for _ in range(S)] for _ in range(K)]
    for row in x:
        model.add_exactly_one(row)
    for j in range(S):
        model.add(sum(int(memory[k]) * x[k][j] for k in range(K)) <= int(capacity[j]))
    busy = [[int(latency[k, j]) * x[k][j] for k in range(K)] for j in range(S)]
    if (K - 1) * S * S <= MAX_PATH_VARIABLES:
        for k in range(K - 1):
            y = [[model.new_bool_var("") for _ in range(S)] for _ in range(S)]
            for i in range(S):
                model.add(sum(y[i]) == x[k][i])
                model.add(sum(row[i] for row in y) == x[k + 1][i])
                busy[i] += [int(send[k] * hops[i, j]) * y[i][j] for j in range(S) if hops[i, j]]
    else:
        slot = [model.new_int_var(0, S - 1, "") for _ in range(K)]
        for k in range(K):
            model.add(slot[k] == sum(j * x[k][j] for j in range(S)))
        for k in range(K - 1):
            pair, hop = model.new_int_var(0, S * S - 1, ""), model.new_int_var(0, int(hops.max()), "")
            model.add(pair == slot[k] * S + slot[k + 1])
            model.add_element(pair, hops.ravel().tolist(), hop)
            for j in range(S):
                charged = model.new_int_var(0, int(send[k] * hops.max()), "")
                model.add(charged >= int(send[k]) * hop).only_enforce_if(x[k][j])
                busy[j].append(charged)
    if objective == "serial":
        model.minimize(sum(sum(terms) for terms in busy))
    else:
        period = model.new_int_var(0, int(latency.max(1).sum() + send.sum() * hops.max()), "")
        for terms in busy:
            model.add(sum(terms) <= period)
        model.minimize(period)
    return model, x
