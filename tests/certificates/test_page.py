"""docs/certificates.md: its example runs, and its tables are those of the benchmarks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.certificates import PAGE, run_table, tables
from benchmarks.environment import read_result
from benchmarks.mutations import table


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(block, {})
    said = capsys.readouterr().out
    assert "2 of 2 points with a certificate" in said and said.count("'gradient'") == 2


def test_the_tables_are_those_of_the_benchmarks() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert tables(read_result("certificates")) in page
    assert run_table(read_result("certificates_runs")) in page
    assert table(read_result("mutations")) in page
