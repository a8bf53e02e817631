"""The report as a browser reads it: balanced, self-contained, escaped, and with the right figures in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord
from lipreg.reporting.html import write_report
from lipreg.results import Status

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = "</title><script>alert('x')</script><img src=x onerror=alert(1)> \"&$question"


class Page(HTMLParser):
    """Checks the nesting of tags, and keeps visible text, links and attribute names."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.targets: list[str] = []
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def _see(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")
        ]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def source(records: Sequence[Record], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    assert write_report(records, path, "penalty") == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def hostile(records: Sequence[Record]) -> list[Record]:
    """Every text that a user or a model can choose, replaced."""
    changed: list[Record] = []
    for r in records:
        more: dict[str, object] = {"run": r.run + HOSTILE}
        if isinstance(r, RunRecord):
            twin = None if r.twin is None else r.twin + HOSTILE
            bound = None if r.bound is None else r.bound + HOSTILE
            more |= {"twin": twin, "bound": bound, "sentence": HOSTILE, "settings": {HOSTILE: {"a": [HOSTILE]}}}
        elif isinstance(r, AuditRecord):
            estimator = r.estimator + HOSTILE if r.estimator == "affine_relu" else r.estimator
            more |= {"functional": HOSTILE, "status": HOSTILE, "certificate": HOSTILE, "fingerprint": HOSTILE}
            more |= {"estimator": estimator, "versions": {HOSTILE: HOSTILE}}
        changed.append(type(r)(**{**vars(r), **more}))
    return changed


def test_the_page_needs_nothing_else(page: Page, source: str) -> None:
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert all(target.startswith("#") for target in page.targets)
    assert not any(name.startswith("on") for name in page.attributes)
    assert "@import" not in source and not re.search(r"url\((?!#)", source)
    assert set(re.findall(r"https?://[^\"\s<)]+", source)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "prefers-color-scheme: dark" in source and 'name="viewport"' in source


def test_identifiers_are_unique_and_links_resolve(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.targets} <= set(page.ids)
    assert page.tags.count("svg") == 2  # one for wide screens, one for narrow ones


def test_cards_and_tables_show_the_hand_computed_figures(page: Page) -> None:
    for said in (
        "91.0% regularised",
        "93.5% twin",
        "[4.666, 5.834] regularised",
        "[9.333, 11.67] twin",
        "[0.4, 0.625] truth",
        "0.25 bound",
        "Transfer [0.339, 0.661]",
        "33% to 67% of that, measured in logarithms, is found in the exact constant.",
        "Regional constant of AllMargins(target=None), LinfBall radius 0.05, cut to the data range, inputs in linf.",
        "After 10 epochs.",
        "regularised.settings.model.hidden [32, 32]",
        "question.region.radius 0.05",
        "versions.torch 2.13.0",
    ):
        assert said in page.text, said


def test_every_point_has_its_rows_and_every_status_its_advice(page: Page) -> None:
    for point in range(3):
        assert page.text.count(f"largest of 9 margins of class {point}") == 1
    assert page.text.count("bracket time limit") == 6
    assert Status.TIME_LIMIT.advice in page.text and Status.FAILED.advice not in page.text
    for term in ("pointed constant", "certified interval", "LP relaxation", "tightness", "movement", "transfer"):
        assert term in page.text


def test_misclassified_points_are_marked(records: Sequence[Record], tmp_path: Path) -> None:
    wrong = [
        type(r)(**{**vars(r), "correct": False, "margin": -0.1}) if isinstance(r, AuditRecord) and r.point == 1 else r
        for r in records
    ]
    page = Page(write_report(wrong, tmp_path / "report.html", "penalty").read_text(encoding="utf-8"))
    assert "class 1, misclassified" in page.text
    assert "it averages the 2 points that are classified rightly in both runs" in page.text


def test_hostile_texts_stay_texts(records: Sequence[Record], tmp_path: Path) -> None:
    source = write_report(hostile(records), tmp_path / "r.html", "penalty" + HOSTILE).read_text(encoding="utf-8")
    page = Page(source)
    assert "script" not in page.tags and "img" not in page.tags
    assert not any(name.startswith("on") for name in page.attributes)
    assert "<script" not in source and "onerror=alert(1)>" not in source
    assert "penalty</title><script>alert('x')</script>" in page.text
    assert "$question" in page.text  # a template field in a name is not filled in


def test_an_undefined_transfer_says_why(records: Sequence[Record], tmp_path: Path) -> None:
    first = [r for r in records if isinstance(r, RunRecord) or r.epoch == 0]
    page = Page(write_report(first, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert "Transfer is undefined: the bound moved by less than 0.1%" in page.text
    assert "Transfer undefined" in page.text


def test_gaps_in_the_records_make_gaps_in_the_page(records: Sequence[Record], tmp_path: Path) -> None:
    bare = [
        r
        for r in records
        if not isinstance(r, EpochRecord) and getattr(r, "estimator", "exact") in ("exact", "affine_relu")
    ]
    page = Page(write_report(bare, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert "n/a regularised" in page.text and "LP relaxation n/a n/a n/a" in page.text


def test_refusals(records: Sequence[Record], tmp_path: Path) -> None:
    stray = next(r for r in records if isinstance(r, AuditRecord) and r.run == "twin")
    pointed = AuditRecord(**{**vars(stray), "question": {**stray.question, "scope": "pointed"}})
    with pytest.raises(IncomparableResults, match="scope"):
        write_report([*records, pointed], tmp_path / "r.html", "penalty")
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(InvalidInput, match="cannot write"):
        write_report(records, tmp_path, "penalty")
