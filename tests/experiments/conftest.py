"""What tests of the programs leave out where it is not their subject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lipreg.reporting import svg


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """The figure of a run in this process is a file without a picture: drawing it takes as long as these trainings."""

    def save(figure: Any, path: Path) -> Path:
        path.write_bytes(b"undrawn")
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svg, "save", save)
        yield
