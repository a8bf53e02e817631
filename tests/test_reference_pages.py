"""The API reference: every public name has its entry, with words and a signature, and no page needs what is not there."""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from tools import reference, reference_entries

ROOT = Path(__file__).resolve().parent.parent
OF_TEMPLATES = (
    "html head meta title style body main nav section header footer label input script svg path rect circle g"
)
OF_TEXT = (
    "div span p a ul ol li dl dt dd h1 h2 h3 h5 h6 pre code strong img wbr blockquote table thead tbody tr th td br"
)
TAGS = {*OF_TEMPLATES.split(), *OF_TEXT.split()}


class Page(HTMLParser):
    """The anchors, links, kinds of tags and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()
        self.feed(self.source)
        self.text = html.unescape(re.sub(r"<[^>]*>", "", self.source))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.add(tag)
        self.anchors.add(named.get("id") or "")
        self.links.add(named.get("href") or named.get("src") or "")

    def entry(self, name: str) -> str:
        """What stands at a name itself, without the members of a class."""
        return self.source.partition(f'<section id="{name}">')[2].partition("</section>")[0].partition("classattr")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    assert reference.write(folder) == folder / "lipreg.html"
    return folder


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Page]:
    return {name: Page(folder / f"{name.replace('.', '/')}.html") for name in reference.PUBLIC}


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The names that a page has entries of, with what they are."""
    for name in getattr(module, "__all__", ()):
        if not inspect.ismodule(getattr(module, name)):
            yield name, getattr(module, name)


def test_every_public_name_has_its_entry_with_words(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        names = dict(public(importlib.import_module(name)))
        assert page.anchors.issuperset(names), name
        for entry in re.findall(r'<section id="([^"]+)">', page.source):
            assert 'class="docstring"' in page.entry(entry), f"{name}.{entry} has no words"
        for kind, thing in names.items():
            assert not (inspect.isclass(thing) or inspect.isfunction(thing)) or thing.__doc__, f"{name}.{kind}"


def test_every_class_that_takes_something_shows_what(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for kind, thing in public(importlib.import_module(name)):
            if inspect.isclass(thing) and not inspect.isabstract(thing) and "_member_map_" not in vars(thing):
                own = (
                    thing.__init__ is not object.__init__
                    and thing.__init__.__qualname__.partition(".")[0] != "Exception"
                )
                shown = (
                    own and inspect.isfunction(thing.__init__) and len(inspect.signature(thing.__init__).parameters) > 1
                )
                assert not shown or f"{kind}.__init__" in page.anchors, f"{name}.{kind} has no signature"
        assert "(unknown" not in page.text, name
        assert not re.search(r"\*\*\*\w", page.text), name
        assert not re.findall(r"\w+: (?:float|int|str|Budget|Sequence\[[^=|]*\]) = ?None", page.text), name
    for ball in ("LinfBall", "L2Ball", "L1Ball"):
        assert re.search(rf"{ball}\(\s*radius: float", pages["lipreg"].text)
    assert re.search(r"p: float \| None = None", pages["lipreg"].text)


def test_formulas_are_no_markup(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert page.tags <= TAGS, (name, page.tags - TAGS)
    assert "prod_{k<K} |diag(s_k)" in pages["lipreg.estimators.products.affine_relu"].text
    assert pages["lipreg.bounds"].text.count("sum nu <p, q>") == 2
    assert " comparison.frame(), .records, .html(" in pages["lipreg"].text


def test_inherited_members_are_there_and_inherited_boilerplate_is_not(pages: dict[str, Page]) -> None:
    for result in ("AuditResult", "NetworkComparison"):
        assert {f"{result}.{view}" for view in ("frame", "html", "table", "save")} <= pages["lipreg"].anchors
    assert {"Recorded.frame", "Recorded.html"} <= pages["lipreg.recorded"].anchors
    assert "Select.forward" not in pages["lipreg"].anchors
    assert "LipschitzAudit.on_train_epoch_end" not in pages["lipreg.callbacks"].anchors
    for name, page in pages.items():
        assert not re.search(
            "Define the computation performed at every call|Called when the|Called in the training", page.text
        ), name


def test_constants_that_a_page_names_are_explained_on_it(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for constant in set(re.findall(r"<code>([A-Z][A-Z_]{2,})</code>", page.source)):
            homes = [module for module in reference.PUBLIC if hasattr(importlib.import_module(module), constant)]
            assert (
                not homes or constant in page.anchors or f"{constant} is " in page.text or f"{constant}: " in page.text
            ), f"{name} names {constant}"
    assert "THIN is 0.0009765625: how thick" in pages["lipreg.regions"].text
    assert reference_entries.words_of_constant("lipreg.bounds", "ROW_MEMORY").startswith("Bytes that the rows")


def test_pages_of_families_say_what_is_in_them(pages: dict[str, Page]) -> None:
    for family in ("products", "jacobians", "sdp", "relaxations", "exact", "witnesses", "yardsticks"):
        name = f"lipreg.estimators.{family}"
        package = importlib.import_module(name)
        modules = [each for each in package.__all__ if isinstance(getattr(package, each), ModuleType)]
        assert modules
        for module in modules:
            assert f"{family}/{module}.html" in pages[name].links
            assert f"{name}.{module}: " in pages[name].text
    assert {"lipreg/estimators.html", "lipreg/callbacks.html", "lipreg/testing.html"} <= pages["lipreg"].links


@pytest.mark.parametrize("path", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))])
def test_what_the_documentation_imports_has_an_entry(pages: dict[str, Page], path: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lipreg":
                assert node.module in pages, f"{path} imports from {node.module}"
                for alias in node.names:
                    listed = alias.name in pages[node.module].anchors or f"{node.module}.{alias.name}" in pages
                    assert listed, f"{path} imports {alias.name} from {node.module}"


def test_modules_that_a_page_names_have_a_page(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        unlinked = re.findall(r"<code>(lipreg(?:\.\w+)+)</code>", page.source)
        assert not unlinked, f"{name} names {unlinked}"


def test_no_page_needs_another_that_is_not_there_or_a_network(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        for link in Page(path).links:
            target = link.partition("#")[0]
            if target.startswith("https://"):
                assert target == "https://pdoc.dev", f"{path.name}: {link}"
            elif target and not target.startswith("data:"):
                assert (path.parent / target).exists(), f"{path.name}: {link}"


def test_names_of_other_pages_are_links_to_them(pages: dict[str, Page]) -> None:
    assert "records.html#AuditRecord" in pages["lipreg.derivatives"].links
    assert "../lipreg.html#LocalLipschitz" in pages["lipreg.testing"].links
    here = {(name.replace(".", "/") + ".html"): page for name, page in pages.items()}
    for path, page in here.items():
        for target, _, name in (link.partition("#") for link in page.links if ".html#" in link):
            there = os.path.normpath(os.path.join(os.path.dirname(path), target))
            assert name in here[there].anchors, f"{path}: {target}#{name}"
