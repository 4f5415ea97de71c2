"""The instance printed in docs/layout.md is the one that the tests work by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs" / "layout.md"


def test_the_instance_of_the_docs_is_the_tested_one(content: dict[str, Any]) -> None:
    text = DOCS.read_text()
    begin = text.index('    {"w_mm"')
    printed = json.loads(text[begin : text.index("\n\n", begin)])
    assert printed == {key: value for key, value in content.items() if key != "name"}
