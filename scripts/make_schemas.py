"""Refresh the JSON schemas (configuration, design.json) and the key table from the types they describe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import write_text
from pipeline.codesign.design import design_schema
from pipeline.command_line import exit_code
from pipeline.config.documentation import json_schema, key_table
from pipeline.config.sections import PresetConfig, RunConfig


def main() -> None:
    """Write the generated files."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_text(Path("workflow/schemas/run.schema.json"), json_schema(RunConfig))
    write_text(Path("workflow/schemas/preset.schema.json"), json_schema(PresetConfig))
    write_text(Path("workflow/schemas/design.schema.json"), design_schema())
    write_text(Path("docs/configuration.md"), key_table())


if __name__ == "__main__":
    sys.exit(exit_code(main))
