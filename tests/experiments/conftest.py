"""What tests of the programs leave out where it is not their subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lipreg.reporting import svg


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure of a run in this process is a file without a picture: drawing it takes as long as these trainings."""

    def save(figure: Any, path: Path) -> Path:
        path.write_bytes(b"undrawn")
        return path

    monkeypatch.setattr(svg, "save", save)
