"""The exact objective: a hand-worked example, and equality with the reference evaluator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.artifacts import read_json
from pipeline.mapping.instance import instance_from_fields, read_instance
from pipeline.mapping.objective import evaluate, pipeline_latency_ms, slot_table

HAND = {
    "lat_ms": [[1.0, 4.0], [2.0, 3.0], [5.0, 1.0]],
    "mem_mb": [10.0, 20.0, 30.0],
    "cap_mb": [30.0, 40.0],
    "traffic_mb": [2.0, 4.0],
    "hops": [[0, 2], [2, 0]],
    "hop_ms": 0.1,
    "ms_per_mb": 0.25,
    "power_w": [100.0, 50.0],
    "pj_per_bit": 2.0,
}


def test_hand_worked_example() -> None:
    """Segments 0, 1 on slot 0 and 2 on slot 1: the second transfer crosses 2 hops, 2 * (0.1 + 4 * 0.25) = 2.2 ms."""
    instance = instance_from_fields(HAND)
    mapping = np.array([0, 0, 1])
    assert evaluate(instance, mapping, "serial") == pytest.approx(1 + 2 + 1 + 2.2)
    assert evaluate(instance, mapping, "balanced") == pytest.approx(1 + 2 + 2.2)
    assert pipeline_latency_ms(instance, mapping, 3) == pytest.approx(6.2 + 2 * 5.2)
    table = slot_table(instance, mapping)
    assert table.compute_ms == pytest.approx([3.0, 1.0])
    assert table.send_ms == pytest.approx([2.2, 0.0])
    assert table.idle_ms == pytest.approx([0.0, 4.2])
    assert table.memory_mb == pytest.approx([30.0, 30.0])
    # 3 ms at 100 W, and 4 MB = 3.2e7 bits over 2 hops at 2 pJ; 1 ms at 50 W.
    assert table.energy_j == pytest.approx([0.3 + 3.2e7 * 2 * 2e-12, 0.05])


def test_a_broken_capacity_is_infinite() -> None:
    """30 + 20 MB do not fit the 40 MB of slot 1, nor can a segment run where its latency is infinite."""
    instance = instance_from_fields(HAND)
    assert evaluate(instance, np.array([0, 1, 1]), "serial") == np.inf
    forbidden = replace(instance, latency_ms=np.array([[np.inf, 4.0], [2.0, 3.0], [5.0, 1.0]]))
    assert evaluate(forbidden, np.array([0, 0, 1]), "balanced") == np.inf


@pytest.mark.reference_data
def test_equals_the_reference_evaluator(reference_data: Path, reference_evaluator: ModuleType) -> None:
    """Every instance: the best known mappings and random ones, every figure."""
    paths = sorted((reference_data / "mapping").glob("map_*.json"))
    assert paths
    rng = np.random.default_rng(0)
    for path in paths:
        fields, instance = read_json(path), read_instance(path)
        shape = instance.latency_ms.shape
        mappings = [rng.integers(0, shape[1], shape[0]) for _ in range(3)]
        mappings += [np.array(best["mapping"]) for best in fields["best"].values()]
        for mapping in mappings:
            theirs = reference_evaluator.eval_mapping(fields, mapping)
            assert evaluate(instance, mapping, "serial") == pytest.approx(theirs["serial"], rel=1e-12)
            assert evaluate(instance, mapping, "balanced") == pytest.approx(theirs["balanced"], rel=1e-12)
            assert slot_table(instance, mapping).busy_ms == pytest.approx(theirs["per_slot_ms"])
            assert slot_table(instance, mapping).energy_j.sum() == pytest.approx(theirs["energy_j"])
