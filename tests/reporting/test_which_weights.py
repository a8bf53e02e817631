"""Pages and tables about weights that the optimizer did not leave say so; about ordinary ones they have no word of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord, to_line
from lipreg.reporting import report
from lipreg.reporting.tables import comparison_text
from lipreg.transfer import compare
from tests.reporting.pages import Page


def left(records: Sequence[Record], weights: str) -> list[Record]:
    """The last audits are of such weights."""
    return [replace(r, weights=weights) if isinstance(r, AuditRecord) and r.epoch == 10 else r for r in records]


def page(records: Sequence[Record], folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "records.jsonl"
    file.write_text("".join(to_line(record) + "\n" for record in records), encoding="utf-8")
    return Page(report(file, folder / "report.html").read_text(encoding="utf-8")).text


def alone(records: Sequence[Record]) -> list[Record]:
    return [replace(r, twin=None) if isinstance(r, RunRecord) else r for r in records if r.run == "penalty"]


@pytest.mark.parametrize(
    ("weights", "before"),
    [
        ("averaged", " (with StochasticWeightAveraging of the weights before the average took their place)."),
        ("replaced", ", before they were put there."),
    ],
)
def test_the_page_and_the_table_say_which_weights(
    records: Sequence[Record], tmp_path: Path, weights: str, before: str
) -> None:
    constants = f"The constants are of the {weights} weights that the training left"
    whole = f"{constants}; the metric beside them is what validation reported that epoch{before}"
    told = left(records, weights)
    assert page(told, tmp_path).count(whole) == 1
    assert page(alone(told), tmp_path).count(whole) == 1
    assert comparison_text(compare(told, "penalty")).count(whole) == 1
    without = [r for r in told if not isinstance(r, EpochRecord)]
    assert f"{constants}." in page(alone(without), tmp_path), "there is no metric beside them"


def test_ordinary_runs_have_no_such_sentence(records: Sequence[Record], tmp_path: Path) -> None:
    for some in (records, alone(records)):
        assert "weights that the training left" not in page(some, tmp_path)
    assert "weights that the training left" not in comparison_text(compare(records, "penalty"))


def test_one_epoch_is_one_epoch(records: Sequence[Record], tmp_path: Path) -> None:
    first = [replace(r, epoch=1) for r in records if not isinstance(r, RunRecord) and r.epoch == 5]
    runs = [r for r in records if isinstance(r, RunRecord)]
    for some in ([*runs, *first], alone([*runs, *first])):
        shown = page(some, tmp_path)
        assert "fter 1 epoch" in shown and "1 epochs" not in shown
    assert "after 1 epoch;" in comparison_text(compare([*runs, *first], "penalty"))


def test_a_comparison_prints_in_a_line(records: Sequence[Record]) -> None:
    comparison = compare(records, "penalty")
    shown = str(comparison)
    assert len(shown) < 400 and "\n" not in shown and repr(comparison) == shown
    for part in (
        "'penalty' against 'twin'",
        "3 points",
        str(comparison.movement.transfer),
        str(comparison.movement.bound),
    ):
        assert part in shown
