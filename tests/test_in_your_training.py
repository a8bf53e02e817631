"""docs/in_your_training.md promises nothing without a test: every row of its tables names one that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "in_your_training.md").read_text(encoding="utf-8")
_HEAD = "| in your training |"


def _rows() -> list[str]:
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(_HEAD) and not set(line) <= set("|- ")]


def test_every_row_names_a_test_that_exists() -> None:
    for row in _rows():
        held = row.rstrip("| ").rpartition("|")[2]
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held)
        assert named, f"no test in the last column of: {row}"
        for path, name in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{path} has no {name}, promised in: {row}"
