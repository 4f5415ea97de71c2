"""Parameters, multiplications and an energy proxy, counted on the nets that were built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cascade_models import ARRAY_CHANNELS, CBAM, WINDOW_SAMPLES, ComplexModel, SimpleSingleChannelModel
from .window_features import BandEnergies, WindowStatistics

# Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm: 32-bit float multiply 3.7 pJ and add 0.9 pJ. Memory,
# which costs more, is left out; so this ranks designs by arithmetic and predicts no chip.
ENERGY_PER_MAC_PJ = 4.6


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers of a net."""
    return sum(parameter.numel() for parameter in model.parameters())


def simple_macs(model: SimpleSingleChannelModel) -> int:
    """Multiplications of the simple model for one window."""
    return _macs(model, torch.zeros(1, model.window_samples))


def complex_macs(channels: int = ARRAY_CHANNELS) -> int:
    """Multiplications of the complex model for one window of `channels` electrodes."""
    return _macs(ComplexModel(), torch.zeros(1, channels, WINDOW_SAMPLES))


def cascade_macs(simple: int, complex_: int, call_rate: float) -> float:
    """Expected multiplications per window: always the simple model, the complex one at `call_rate`."""
    return simple + call_rate * complex_


def energy_proxy_j(macs: float) -> float:
    """Arithmetic energy of `macs` multiply-adds; a proxy (see `ENERGY_PER_MAC_PJ`)."""
    return macs * ENERGY_PER_MAC_PJ * 1e-12


@torch.no_grad()
def _macs(model: nn.Module, example: Tensor) -> int:
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(_layer_macs(module, inputs[0], output))

    handles = [layer.register_forward_hook(count) for layer in model.modules()]
    training = model.training
    model.eval()(example)
    model.train(training)
    for handle in handles:
        handle.remove()
    return sum(counts)


def _layer_macs(module: nn.Module, given: Tensor, output: Tensor) -> int:
    if isinstance(module, nn.Conv1d):
        inputs = given.shape[1] // module.groups
        return output.numel() * inputs * module.kernel_size[0]
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, BandEnergies):
        return module.macs
    if isinstance(module, WindowStatistics):
        return module.macs(given.shape[-1])
    # Both gates of CBAM multiply every value once.
    return 2 * output.numel() if isinstance(module, CBAM) else 0
