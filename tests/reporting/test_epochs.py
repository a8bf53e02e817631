"""At which epoch two runs are compared, said wherever that is not the end of both."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lipreg.records import AuditRecord, Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_report, write_runs_report
from lipreg.reporting.tables import comparison_text
from lipreg.reporting.verdicts import judgement
from lipreg.transfer import compare
from tests.reporting.pages import Page

PART = "Part of the movement is real"


def kept(records: Sequence[Record], **epochs: Collection[int]) -> list[Record]:
    """The records of those epochs alone, by run."""
    return [r for r in records if isinstance(r, RunRecord) or r.epoch in epochs[r.run]]


@pytest.mark.parametrize(
    ("mine", "twin", "said"),
    [
        ((0, 5, 10), (0, 5), "'penalty' was audited after epochs 0, 5, 10; its twin 'twin' after epochs 0, 5."),
        ((0, 5), (0, 5, 10), "'penalty' was audited after epochs 0, 5; its twin 'twin' after epochs 0, 5, 10."),
    ],
    ids=["a shorter twin", "a longer twin"],
)
def test_a_verdict_before_the_end_says_so(
    records: Sequence[Record], tmp_path: Path, mine: tuple[int, ...], twin: tuple[int, ...], said: str
) -> None:
    part = kept(records, penalty=mine, twin=twin)
    text = comparison_text(compare(part, "penalty"))
    page = Page(write_report(part, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    for shown in (" ".join(text.split()), page.text):
        assert "After 5 epochs, which is not the end: " in shown and said in shown
    assert "1 not at the last epoch of both" in page.text


def test_a_verdict_at_the_end_of_both_says_nothing_of_epochs(records: Sequence[Record], tmp_path: Path) -> None:
    page = Page(write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    text = comparison_text(compare(records, "penalty"))
    assert "not the end" not in text + page.text and "not at the last epoch" not in page.text
    early = judgement(compare(records, "penalty", epoch=5))
    assert early.startswith("After 5 epochs, which is not the end: "), "also where that epoch was asked for"


def test_there_is_no_verdict_on_untrained_networks(records: Sequence[Record], tmp_path: Path) -> None:
    part = kept(records, penalty=(0, 10), twin=(0, 5))
    text = comparison_text(compare(part, "penalty"))
    assert "No verdict: the untrained networks are compared, which no penalty has moved." in text
    assert "'penalty' was audited after epochs 0, 10; its twin 'twin' after epochs 0, 5." in text
    page = Page(write_runs_report(Sources((Source("r.jsonl", tuple(part)),)), tmp_path / "r.html").read_text())
    assert (
        "Not compared with twin: only the untrained networks were audited in both: 'penalty' was audited after epochs "
        "0, 10; 'twin' was audited after epochs 0, 5. Audit both after the same epochs." in page.text
    )
    assert "audited at 3 reference points after 10 epochs; not compared with its twin twin." in page.text
    for shown in (text, page.text):
        assert "nothing to pass on" not in shown and "Only the bound moved" not in shown
    assert "None of them compared with a twin." in page.text


def test_of_many_epochs_the_first_and_the_last_are_named(records: Sequence[Record]) -> None:
    one = next(r for r in records if isinstance(r, AuditRecord) and r.epoch == 0)
    many = [replace(one, epoch=epoch) for epoch in range(11, 40)]
    said = judgement(compare([*records, *many], "penalty"))
    assert "'penalty' was audited after epochs 0, 5, 10, ..., 38, 39; its twin 'twin' after epochs 0, 5, 10." in said
