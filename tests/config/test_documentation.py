"""Generated files equal what the typed sections say now."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.documentation import json_schema, key_table
from pipeline.config.sections import PresetConfig, RunConfig


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("workflow/schemas/run.schema.json", json_schema(RunConfig)),
        ("workflow/schemas/preset.schema.json", json_schema(PresetConfig)),
        ("docs/configuration.md", key_table()),
    ],
)
def test_generated_file_is_current(path: str, content: str) -> None:
    assert Path(path).read_text() == content, f"{path} is stale; run `make experiments`"


def test_every_key_is_explained() -> None:
    assert "None |" not in [line[-6:] for line in key_table().splitlines()]
