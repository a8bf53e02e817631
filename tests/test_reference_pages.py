"""The API reference: every public name has its entry, with a docstring, and no page needs what is not there."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """The anchors and links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.anchors.add(named.get("id") or "")
        self.links.add(named.get("href") or named.get("src") or "")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, Path]:
    folder = tmp_path_factory.mktemp("reference")
    made = program()
    assert made.write(folder) == folder / "lipreg.html"
    return made, folder


def test_every_public_name_has_its_entry(written: tuple[ModuleType, Path]) -> None:
    made, folder = written
    for name in made.PUBLIC:
        page, module = Page(folder / f"{name.replace('.', '/')}.html"), importlib.import_module(name)
        names = [n for n in getattr(module, "__all__", ()) if not inspect.ismodule(getattr(module, n))]
        assert page.anchors.issuperset(names), name
        for made_here in (module.__dict__[n] for n in names):
            documented = inspect.isclass(made_here) or inspect.isfunction(made_here)
            assert not documented or inspect.getdoc(made_here), f"{name}.{made_here.__name__}"


def test_no_page_needs_another_that_is_not_there_or_a_network(written: tuple[ModuleType, Path]) -> None:
    _, folder = written
    for path in folder.rglob("*.html"):
        for link in Page(path).links:
            target = link.partition("#")[0]
            if target.startswith("https://"):
                assert target == "https://pdoc.dev", f"{path.name}: {link}"
            elif target and not target.startswith("data:"):
                assert (path.parent / target).exists(), f"{path.name}: {link}"
