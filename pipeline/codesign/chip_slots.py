"""The slots of a wafer as a co-design sees them; the class itself lives with the segments (spec §8.2)."""

from __future__ import annotations

from ..mapping.chip_slots import ChipSlotConfig, check_smallest_chip, temperature_at

__all__ = ["ChipSlotConfig", "check_smallest_chip", "temperature_at"]
