"""A small measured table whose truth is known, and a proxy fitted to it."""

from __future__ import annotations

import pytest
import torch

from pipeline.config.proxy import ProxyFit
from pipeline.hw_proxy.device_table import DeviceTable, devices_from_frame
from pipeline.hw_proxy.layer_hw_proxy import LayerHwProxy
from pipeline.hw_proxy.measured_table import MeasuredTable, measured_from_frame
from pipeline.hw_proxy.proxy_fit import fit_proxy
from tests.hw_proxy.made_up import device_frame, measured_frame


@pytest.fixture(scope="session")
def devices() -> DeviceTable:
    return devices_from_frame(device_frame())


@pytest.fixture(scope="session")
def measured(devices: DeviceTable) -> MeasuredTable:
    return measured_from_frame(measured_frame(("small", "middle", "large"), 500), devices, "made up")


@pytest.fixture(scope="session")
def quick_fit() -> ProxyFit:
    return ProxyFit(members=1, hidden=[16], epochs=40, batch_size=128, rows_per_group=200)


@pytest.fixture(scope="session")
def proxy(measured: MeasuredTable, quick_fit: ProxyFit) -> LayerHwProxy:
    return fit_proxy(measured, torch.ones(len(measured), dtype=torch.bool), quick_fit, seed=0)
