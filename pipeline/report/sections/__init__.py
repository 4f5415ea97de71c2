"""The sections of the report, in the order of the page; a new one is a module here and a line in `SECTIONS`."""

from __future__ import annotations

from collections.abc import Callable

from ..blocks import Section
from ..context import Context
from . import (
    cascade,
    configuration,
    confusion,
    cost,
    data_card,
    examples,
    experiments,
    hardware,
    headline,
    learning,
    proxies,
    pruning,
    quantised,
    recordings,
    reproduce,
    version_c,
)

SECTIONS: tuple[Callable[[Context], Section], ...] = (
    headline.section,
    experiments.section,
    learning.section,
    pruning.section,
    confusion.section,
    examples.section,
    proxies.section,
    hardware.section,
    version_c.section,
    data_card.section,
    recordings.section,
    cascade.section,
    quantised.section,
    configuration.section,
    cost.section,
    reproduce.section,
)
