"""The reference evaluator, and brute force."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.mapping.instance import MappingInstance
from pipeline.mapping.objective import Objective, evaluate


@pytest.fixture(scope="session")
def reference_evaluator(reference_data: Path) -> ModuleType:
    """The reference `evaluate.py`, loaded as a module."""
    spec = importlib.util.spec_from_file_location("reference_evaluate", reference_data / "mapping" / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def brute_force_ms() -> Callable[[MappingInstance, Objective], float]:
    """The optimum by looking at every mapping; infinite if none fits."""

    def optimum(instance: MappingInstance, objective: Objective) -> float:
        mappings = itertools.product(range(instance.num_slots), repeat=instance.num_segments)
        return min(evaluate(instance, np.array(mapping), objective) for mapping in mappings)

    return optimum
