"""Numbers of things and the words beside them agree, also for one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lipreg.records import AuditRecord, Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_report, write_runs_report
from lipreg.reporting.tables import comparison_text
from lipreg.transfer import compare
from tests.reporting.pages import Page


def page_of(folder: Path, *files: Sequence[Record]) -> str:
    sources = Sources(tuple(Source(f"{i}.jsonl", tuple(records)) for i, records in enumerate(files)))
    return Page(write_runs_report(sources, folder / "report.html").read_text(encoding="utf-8")).text


def test_runs_are_counted_with_their_twins(records: Sequence[Record], tmp_path: Path) -> None:
    assert "Runs 2 1 of them compared with a twin" in page_of(tmp_path, records)
    both = [*records, *(replace(r, run="strong") for r in records if r.run == "penalty")]
    text = page_of(tmp_path, both)
    assert "Runs 3 2 of them compared with a twin" in text and text.startswith("3 runs")
    alone = [r for r in records if r.run == "twin"]
    assert "Runs 1 None of them compared with a twin." in page_of(tmp_path, alone)


def test_one_thing_is_named_in_the_singular(records: Sequence[Record], tmp_path: Path) -> None:
    one = [
        r
        for r in records
        if isinstance(r, RunRecord) or (r.epoch == 5 and (not isinstance(r, AuditRecord) or r.point == 0))
    ]
    one = [r if isinstance(r, RunRecord) else replace(r, epoch=1) for r in one]
    page = Page(write_report(one, tmp_path / "r.html", "penalty").read_text(encoding="utf-8")).text
    for text in (comparison_text(compare(one, "penalty")), page):
        assert re.findall(r"(?<![.\d])1 [a-z ]*(?:points|epochs|intervals|runs)\b", text) == []
        assert "it is that of the one point that is classified rightly in both runs" in text
    assert "Of 2 intervals" in page and "Of one compared run: " in page
