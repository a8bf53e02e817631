"""What the tests of the report share: a page as a parser sees it, and records full of hostile texts."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser

from lipreg.records import AuditRecord, Record, RunRecord

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = "</title></script><script>alert('x')</script><img src=x onerror=alert(1)> \"&$question<!--"


class Page(HTMLParser):
    """Checks the nesting of tags, and keeps visible text, links and attribute names."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
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
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
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
            more |= {"estimator": estimator, "versions": {HOSTILE: HOSTILE}, "proof": HOSTILE, "detail": HOSTILE}
        changed.append(type(r)(**{**vars(r), **more}))
    return changed
