"""Refresh the JSON schemas and the key table from the typed configuration."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import write_text
from pipeline.command_line import exit_code
from pipeline.config.documentation import json_schema, key_table
from pipeline.config.sections import PresetConfig, RunConfig


def main() -> None:
    """Write the three generated files."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_text(Path("workflow/schemas/run.schema.json"), json_schema(RunConfig))
    write_text(Path("workflow/schemas/preset.schema.json"), json_schema(PresetConfig))
    write_text(Path("docs/configuration.md"), key_table())


if __name__ == "__main__":
    sys.exit(exit_code(main))
