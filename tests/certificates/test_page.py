"""docs/certificates.md: its example runs, and its table is that of the benchmark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.certificates import PAGE, tables
from benchmarks.environment import read_result


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(block, {})
    said = capsys.readouterr().out
    assert "2 of 2 points with a certificate" in said and said.count("'gradient'") == 2


def test_the_table_is_that_of_the_benchmark() -> None:
    assert tables(read_result("certificates")) in PAGE.read_text(encoding="utf-8")
