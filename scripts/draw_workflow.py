"""Refresh the picture of the workflow in README.md from Snakemake's rule graph."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from pipeline.artifacts import write_text
from pipeline.command_line import exit_code
from pipeline.workflow_drawing import readable_mermaid, replace_drawing

RULEGRAPH = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--forceall", "--config", "preset=demo"]


def main() -> None:
    """Ask Snakemake, rewrite the file."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    graph = subprocess.run(RULEGRAPH, capture_output=True, text=True, check=True).stdout
    readme = Path("README.md")
    write_text(readme, replace_drawing(readme.read_text(), readable_mermaid(graph)))


if __name__ == "__main__":
    sys.exit(exit_code(main))
