"""The machine a figure or a report was made on."""

from __future__ import annotations

import platform

import psutil


def machine_line() -> str:
    """What machine the figures were taken on, without anything that identifies it."""
    memory_gb = psutil.virtual_memory().total / 2**30
    return f"{platform.machine()}, {psutil.cpu_count()} cores, {memory_gb:.0f} GB, Python {platform.python_version()}"
