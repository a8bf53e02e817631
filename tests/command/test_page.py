"""What docs/your_network.md prints runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lipreg.command.main import main
from tests.command.test_command import files as files
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "your_network.md").read_text(encoding="utf-8")


def test_the_page_runs(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = "from tests.loading.test_networks import Net\n"
    (files / "nets.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(files))
    (commands,) = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "lipreg" and main(arguments) == 0, line
    assert (files / "audit.html").is_file()
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    capsys.readouterr()
    exec(compile(example, "your_network", "exec"), {})
    assert "3 of 3 points exact" in capsys.readouterr().out and (files / "page.html").is_file()
