"""What a measurement was taken on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Versions and the machine's shape, without its name."""
    packages = ("torch", "highspy", "cvxpy", "pytorch-lightning", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(), **versions}


def write_result(name: str, rows: list[dict[str, Any]]) -> Path:
    """Writes ``results/NAME.json``: the environment and one object a row."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    path.write_text(f'{{\n  "environment": {json.dumps(environment())},\n  "rows": [\n{lines}\n  ]\n}}\n')
    return path


def read_result(name: str) -> list[dict[str, Any]]:
    """The rows of ``results/NAME.json``."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def write_tables(page: Path, tables: Mapping[str, str]) -> None:
    """Puts tables where a page has their marks, ``<!-- table NAME -->`` to ``<!-- end -->``; the words between stay."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        place = re.compile(rf"<!-- table {name} -->\n.*?<!-- end -->", re.DOTALL)
        marked = f"<!-- table {name} -->\n{table}\n<!-- end -->"
        text = place.sub(lambda _, marked=marked: marked, text)
    page.write_text(text, encoding="utf-8")


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, in the order of the first row's keys."""
    keys = list(rows[0])
    lines = [f"| {' | '.join(keys)} |", f"| {' | '.join('---' for _ in keys)} |"]
    return "\n".join(lines + [f"| {' | '.join(str(row[key]) for key in keys)} |" for row in rows])
