"""A page shows single values, and says of which points, of which runs and of which unit a figure is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipreg.records import AuditRecord, EpochRecord, Record
from lipreg.reporting.html import write_report
from lipreg.reporting.verdicts import verdict
from lipreg.transfer import compare
from tests.reporting.conftest import build, calibration
from tests.reporting.pages import Page
from tests.reporting.test_browser import Shown, browser
from tests.reporting.test_metric import regression

__all__ = ["browser"]


def _without(epochs: tuple[int, ...], kind: type[Record], estimator: str = "") -> list[Record]:
    """The study without the records of a kind, or of an estimator, after some epochs."""
    return [
        r
        for r in build()
        if not (isinstance(r, kind) and r.epoch in epochs and getattr(r, "estimator", "") == estimator)  # type: ignore[attr-defined]
    ]


@pytest.mark.parametrize(("left_out", "dots"), [((0, 5), 2), ((0,), 0)])
def test_a_metric_with_one_value_is_a_dot(browser: Any, tmp_path: Path, left_out: tuple[int, ...], dots: int) -> None:
    with Shown(browser, write_report(_without(left_out, EpochRecord), tmp_path / "r.html", "penalty")) as shown:
        assert shown.page.locator("#accuracy circle.dot").count() == dots
        assert shown.trouble == []


@pytest.mark.parametrize(("left_out", "dots"), [((5,), 4), ((0, 5), 2), ((0,), 0)])
def test_an_lp_between_gaps_is_a_dot(browser: Any, tmp_path: Path, left_out: tuple[int, ...], dots: int) -> None:
    with Shown(browser, write_report(_without(left_out, AuditRecord, "lp"), tmp_path / "r.html", "penalty")) as shown:
        assert shown.page.locator("#trajectory circle.LP").count() == dots
        assert shown.trouble == []


def test_two_accuracies_of_a_page_say_of_which_points_they_are(tmp_path: Path) -> None:
    records = [*build(), calibration("penalty", 10, 1.0, accuracy=0.8), calibration("twin", 10, 1.0)]
    page = Page(write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert "its accuracy is 80.0%, the twin's 90.0%, over 900 points not audited" in page.text
    assert "Inputs classified rightly, as the training logged it over its validation data." in page.text
    other = [
        replace(r, metrics={"train_acc": r.metrics["val_accuracy"]}) if isinstance(r, EpochRecord) else r
        for r in records
    ]
    shown = Page(write_report(other, tmp_path / "o.html", "penalty", metric="train_acc").read_text(encoding="utf-8"))
    assert "Inputs classified rightly, as the training logged it." in shown.text


@pytest.mark.parametrize(
    ("task", "whys", "said"),
    [
        ("classes", ("a", "a"), "as T of the regularised run and of the twin is undefined: a"),
        ("classes", ("a", "b"), "as T of the regularised run is undefined: a; T of the twin is undefined: b"),
        ("classes", ("a", ""), "as T of the regularised run is undefined: a"),
        ("classes", ("", "b"), "as T of the twin is undefined: b"),
        (
            "values",
            ("a", "a"),
            "as constants of the regularised run and of the twin in standard deviations are undefined: a",
        ),
        ("values", ("", "b"), "as constants of the twin in standard deviations are undefined: b"),
    ],
)
def test_all_runs_without_a_factor_are_named(task: str, whys: tuple[str, str], said: str) -> None:
    told = [
        calibration(run, 10, None if why else 1.0, why=why, task=task)
        for run, why in zip(("penalty", "twin"), whys, strict=True)
    ]
    found = verdict(compare([*(regression() if task == "values" else build()), *told], "penalty"))
    assert f"{said}." in found
    assert task == "classes" or " T " not in found


def test_classes_are_promised_where_there_are_some(tmp_path: Path) -> None:
    for records, there in ((build(predicted=1, witness=[0.0]), True), (regression(), False)):
        page = Page(write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
        assert ("with their difference and the classes." in page.text) == there
        assert ("with their difference." in page.text) != there
