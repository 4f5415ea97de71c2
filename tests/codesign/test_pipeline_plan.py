"""The pipeline in tensors is the pipeline in numbers, split or not, and its smooth maximum bounds the true one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worked_example import small_segments, worked_segments

from pipeline.codesign.pipeline_plan import PipelineTime, pipeline_time, plan_of, split_like
from pipeline.errors import DataError
from pipeline.mapping.fork_join import graph_time


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), split=st.lists(st.tuples(st.integers(0, 4), st.integers(2, 4)), max_size=3))
def test_tensors_and_numbers_agree(seed: int, split: list[tuple[int, int]]) -> None:
    rng = np.random.default_rng(seed)
    metas = [{"segment_id": k, "groups": groups} for k, groups in dict(split).items()]
    segments = split_like(small_segments(), metas)
    S = 5
    hops = rng.integers(1, 4, (S, S)).astype(float)
    hops = np.triu(hops, 1) + np.triu(hops, 1).T
    latency = rng.uniform(0.5, 4.0, (len(segments), S))
    slots = [int(slot) for slot in rng.integers(0, S, len(segments))]
    expected = graph_time(segments, slots, latency, hops, 0.1, 0.25)
    plan = plan_of(segments, slots, S, hops)
    traffic = torch.stack([torch.as_tensor(segment.traffic_out_bytes).double() for segment in segments]) / 1e6
    chosen = torch.from_numpy(latency[np.arange(len(slots)), slots])
    time = pipeline_time(plan, chosen, traffic, torch.from_numpy(hops), 0.1, 0.25)
    assert time.busy_ms.numpy() == pytest.approx(expected.busy_ms)
    assert time.sent_mb_hops.numpy() == pytest.approx(expected.sent_mb_hops)
    assert float(time.serial_ms) == pytest.approx(expected.serial_ms)
    assert float(time.send_ms.sum()) == pytest.approx(expected.comm_ms)
    assert float(time.period_ms()) == pytest.approx(expected.period_ms)


@given(busy=st.lists(st.floats(0.1, 50.0), min_size=1, max_size=16), smoothing=st.floats(0.001, 0.2))
def test_the_smooth_maximum_is_above_the_true_one_by_little(busy: list[float], smoothing: float) -> None:
    values = torch.tensor(busy, dtype=torch.float64)
    time = PipelineTime(values, torch.zeros_like(values), torch.zeros_like(values), values.sum())
    smooth = float(time.period_ms(smoothing))
    assert max(busy) * (1 - 1e-12) <= smooth <= max(busy) * (1 + smoothing * np.log(len(busy)) + 1e-9)


def test_a_mapping_that_does_not_match_is_refused() -> None:
    with pytest.raises(DataError, match="2 entries for 3 segments"):
        plan_of(worked_segments(), [0, 1], 2, np.zeros((2, 2)))
    with pytest.raises(DataError, match="segment 2 is mapped to slot 5"):
        plan_of(worked_segments(), [0, 1, 5], 2, np.zeros((2, 2)))


def test_kernels_of_parts_share_the_work_but_not_the_norms() -> None:
    """A part's kernels: products 1/G of the FLOPs, norms and sums whole, the stream read whole."""
    whole = small_segments(segment_size=1)[1]
    part = split_like([whole], [{"segment_id": whole.id, "groups": 2}])[0]
    table, shared = whole.kernels.table(), part.kernels
    products = table.depth > 0
    assert torch.allclose(shared.flops[products], table.flops[products] / 2)
    assert torch.allclose(shared.flops[~products], table.flops[~products])
    assert torch.allclose(shared.weight_bytes[products], table.weight_bytes[products] / 2)
    assert bool((shared.bytes_moved <= table.bytes_moved).all())
    # The q-k-v product: its input whole, half of its weights and outputs.
    rows, depth, columns = (float(values[1]) for values in (table.rows, table.depth, table.columns))
    assert float(shared.bytes_moved[1]) == pytest.approx(2 * (rows * depth + (depth + rows) * columns / 2))
