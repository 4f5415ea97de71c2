"""The section of the cascade's export: how much of it is checked, and what the folder takes along."""

from __future__ import annotations

from pydantic import Field

from .sections import Positive, Section


class ExportConfig(Section):
    """EXP-C5-export-verify: back ends generated from the integer model, and compared (docs/export_folder.md)."""

    vectors: Positive = Field(32, description="test windows in the export folder, evenly spaced over the test split")
    rtl_windows: Positive = Field(
        200, description="windows simulated clock by clock, evenly spaced over all; other back ends see every window"
    )
