"""The head of the report and its settings say where runs come from; what is not recorded is said to be missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lipreg.records import RunRecord, Source
from lipreg.reporting.html import write_report
from lipreg.reporting.provenance import NOT_RECORDED, essentials, provenance
from lipreg.runs import RecordedRun, runs_of
from tests.reporting.conftest import build
from tests.reporting.pages import Page

TOLD = {
    "model": {"_target_": "experiments.models.Classifier", "widths": [4, 3], "learning_rate": 0.002},
    "data": {"_target_": "lipreg.data.Digits", "batch_size": 64},
    "trainer": {"max_epochs": 10},
}


def runs(**more: object) -> list[RecordedRun]:
    return runs_of([Source("a", tuple(replace(r, **more) if isinstance(r, RunRecord) else r for r in build()))])


def test_the_settings_that_matter_come_first() -> None:
    assert essentials(runs(settings=TOLD)[0]) == {
        "what is penalised": "affine_relu, weight 0.01",
        "model": "Classifier: widths [4, 3], learning_rate 0.002",
        "data": "Digits: batch_size 64",
        "learning rate": "0.002",
        "epochs": "10",
    }
    bare = essentials(runs(settings={})[1])
    assert (bare["what is penalised"], bare["epochs"]) == ("none", "10 recorded")
    assert {bare[name] for name in ("model", "data", "learning rate")} == {NOT_RECORDED}


def test_dates_and_versions_are_those_of_the_records() -> None:
    first, second = runs(started="2026-01-31T12:00:01+00:00", versions={"lipreg": "0.1.0"})
    second = replace(
        second, record=replace(second.record, started="2026-02-01T08:30:59+00:00", versions={"torch": "3"})
    )
    told = provenance([first, second], "both")
    assert told["run"] == "both" and told["date"] == "2026-01-31 12:00 to 2026-02-01 08:30 UTC"
    assert told["versions"] == "lipreg 0.1.0; 1 other among the runs"
    assert told["command"] == told["commit"] == NOT_RECORDED
    assert provenance(runs(), "x")["date"] == NOT_RECORDED and provenance(runs(), "x")["versions"] == "torch 2.13.0"


def test_a_run_whose_line_is_missing_has_no_versions_of_its_own() -> None:
    """What audited names other packages than what trained: it is another only where the versions of the same one differ."""
    first, second = runs(versions={"lipreg": "0.1.0", "torch": "2.13.0"})
    lost = replace(second, record=replace(second.record, versions={}))
    told = provenance([first, lost], "both")["versions"]
    assert told == "lipreg 0.1.0, torch 2.13.0; of some runs not recorded"
    other = replace(first, record=replace(first.record, versions={"lipreg": "0.1.0", "torch": "2.12.0"}))
    assert provenance([other, lost], "both")["versions"] == "lipreg 0.1.0, torch 2.12.0; 1 other among the runs"


def test_the_page_shows_both(tmp_path: Path) -> None:
    page = Page(write_report(build(), tmp_path / "r.html", "penalty").read_text())
    for said in ("Command not recorded", "Commit not recorded", "Versions torch 2.13.0", "learning rate not recorded"):
        assert said in page.text, said
