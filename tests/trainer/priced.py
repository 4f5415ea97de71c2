"""Settings of small runs with hardware in the loop."""

from __future__ import annotations

HW = {
    "data.truth": None,
    "training.mode": "single_device_ast",
    "hw.mode": "single_device",
    "hw.use_hw_loss": True,
    "hw.workload": {"batch": 1, "depth": 4},
    "ast.prune_layers": [0],
    "ast.space_window_levels": [1, 2],
    "ast.time_window_levels": [1, 2],
}
# Hardware decides which gates close, within a budget of FLOPs.
BUDGET = HW | {
    "hw.lambda_T": 1.0,
    "hw.lambda_macs": 30.0,
    "ast.lambda_head": 0.0,
    "ast.lambda_ch": 0.0,
    "ast.lambda_block": 0.0,
}
