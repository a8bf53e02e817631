"""Optional packages: which extra an error names, and which errors are none of absence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lipreg.errors import MissingExtra
from lipreg.extras import require
from tests.conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def test_a_package_that_is_not_there_is_named_with_its_extra_and_the_way_around_it() -> None:
    with pytest.raises(
        MissingExtra, match=re.escape("view: nowhere is not installed. pip install 'lipreg[x]', or wait.")
    ):
        require("x", "nowhere", where="view", otherwise="wait")


@pytest.mark.parametrize(
    "raised",
    [
        ImportError("libtorch.so: failed to map segment from shared object: Cannot allocate memory"),
        MemoryError(),
        ModuleNotFoundError("No module named 'of_its_own'", name="of_its_own"),
    ],
)
def test_a_package_that_does_not_load_is_not_said_to_be_missing(
    raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{type(raised).__name__}"
    more = f", name={raised.name!r}" if isinstance(raised, ModuleNotFoundError) else ""
    (tmp_path / f"{name}.py").write_text(f"raise {type(raised).__name__}({str(raised)!r}{more})\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(type(raised)) as caught:
        require("x", name, where="view")
    assert not isinstance(caught.value, MissingExtra)
    assert str(caught.value) == str(raised)


def test_every_extra_that_is_named_is_one() -> None:
    texts = [
        path.read_text(encoding="utf-8") for top in ("lipreg", "experiments") for path in (ROOT / top).rglob("*.py")
    ]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    texts += [path.read_text(encoding="utf-8") for path in (*(ROOT / "conf").rglob("*.yaml"),)]
    found = re.findall(r"\brequire\(\"([\w-]+)\"|lipreg\[([\w,-]+)\]", "\n".join(texts))
    named = {name for one, many in found for name in (one or many).split(",")} - {"extra"}
    assert {"digits", "views", "workspace", "parquet", "ray"} <= named <= set(EXTRAS)
    (every,) = EXTRAS["all"]
    assert set(every.removeprefix("lipreg[").removesuffix("]").split(",")) == set(EXTRAS) - {"all"}
