"""Figures stand in the block where they belong, and sentences say no more than margins, shares and records support."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipreg.records import AuditRecord, Record, Source
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.html import write_report
from lipreg.reporting.markup import value
from lipreg.reporting.page_data import page_data
from lipreg.reporting.rows import AS_THEY_ARE, OF_AUDIT, SCALE_FREE, comparison_blocks
from lipreg.reporting.runs import find_entries
from lipreg.reporting.tables import comparison_text
from lipreg.reporting.verdicts import HOW, verdict
from lipreg.transfer import Comparison, compare
from tests.reporting.conftest import build, calibration
from tests.reporting.pages import Page
from tests.reporting.test_metric import regression

LAST = 10


def at_the_end(records: Sequence[Record], run: str, **more: Any) -> list[Record]:
    """The records, those of a run's last audits changed."""
    return [
        replace(r, **more) if isinstance(r, AuditRecord) and (r.run, r.epoch) == (run, LAST) else r for r in records
    ]


def rescaled(constant: float, margin: float = 1.0, certified: bool | None = None) -> list[Record]:
    """The twin again, its constants and bounds times a number, margins times that and another one; exact everywhere.

    With ``certified`` margins are far beyond the region at all points of the twin, and at all of the run if it is true.
    """
    found: list[Record] = []
    for r in build():
        if isinstance(r, AuditRecord) and r.epoch == LAST:
            factor = constant if r.run == "penalty" else 1.0
            size = {"combined": 5.0, "lp": 16.0}.get(r.estimator, 40.0) * 2.0**r.point * factor
            ends = {"lower": size if r.estimator == "combined" else 0.0, "upper": size}
            if r.estimator == "sampling":
                ends = {"lower": 0.0, "upper": math.inf}
            assert r.margin is not None
            wide = 1.0 if certified is None else 5.0 if certified or r.run == "twin" or r.point else 1e-3
            more = margin if r.run == "penalty" else 1.0
            kind = "exact" if r.estimator == "combined" else r.certificate
            r = replace(r, **ends, certificate=kind, margin=r.margin * wide * factor * more)
        found.append(r)
    return found


def calibrated(records: Sequence[Record], factor: float | None, error: float = 0.0) -> Comparison:
    told = [calibration("penalty", LAST, factor, error=error), calibration("twin", LAST, 1.0, error=error)]
    return compare([*records, *told], "penalty")


# ---------------------------------------------------------------- blocks


def test_every_figure_stands_in_its_block(tmp_path: Path) -> None:
    blocks = {b.name: {row.name for row in b.rows} for b in comparison_blocks(calibrated(build(), 1.0))}
    assert {"certified radius", "validation accuracy", "margin over constant (median)"} <= blocks[SCALE_FREE]
    assert blocks[AS_THEY_ARE] == {"bound (affine_relu)", "LP relaxation", "combined [lower, upper]"}
    assert blocks[OF_AUDIT] == {"certified exact", "tightness (bound / combined)", "rank correlation"}
    loss = {b.name: {row.name for row in b.rows} for b in comparison_blocks(compare(regression(), "penalty"))}
    assert "val_loss" in loss[OF_AUDIT] and "val_loss" not in loss[AS_THEY_ARE]
    page = Page(write_report(build(), tmp_path / "r.html", "penalty").read_text(encoding="utf-8")).text
    heads = [page.index(f"{name[0].upper()}{name[1:]} ") for name in (SCALE_FREE, AS_THEY_ARE, OF_AUDIT)]
    assert heads == sorted(heads) and page.index("Tightness [4, 5]") > heads[2]
    assert "Certificate: exact at 0 of 6 intervals of both runs" in page


# ---------------------------------------------------------------- verdicts


def test_only_what_margins_and_shares_bear_out_is_called_rescaled() -> None:
    same = verdict(calibrated(rescaled(0.5), 2.0))
    assert same.startswith("Rescaled: the raw constant is 0.5 of the twin's, the calibrated one 1")
    within = verdict(calibrated(rescaled(0.5, 1.04), 2.0))
    assert within.startswith("Rescaled: ")
    beyond = verdict(calibrated(rescaled(0.5, 1.06), 2.0))
    assert beyond.startswith("The calibrated constant stayed: the raw constant is 0.5 of the twin's")
    assert "But the margin over constant is 1.06 of the twin's: more than the size of the outputs moved." in beyond
    shares = verdict(calibrated(rescaled(0.5, certified=False), 2.0))
    assert "certified accuracy is 66.7%, the twin's 100.0%: more than the size of the outputs moved." in shares
    assert verdict(calibrated(rescaled(0.5, certified=True), 2.0)).startswith("Rescaled: ")


@pytest.mark.parametrize("known", [False, True])
def test_where_nothing_moved_beside_the_margins_the_truth_is_not_said_to_move(known: bool) -> None:
    def said(records: list[Record]) -> str:
        return verdict(calibrated(records, None) if known else compare(records, "penalty"))

    still = said(rescaled(0.5))
    assert still.endswith(
        "Relative to the margins nothing moved: the margin over constant, which needs no T, is 1 of the twin's, "
        "while the raw constant is 0.5 of the twin's."
    )
    moved = said(rescaled(0.5, 2.0))
    assert "which needs no T, is 2 of the twin's." in moved and "The truth moved with the bound" in moved
    assert "nothing moved" not in said(rescaled(0.97)), "nor did the raw constant"


def test_small_movements_have_significant_digits() -> None:
    found = verdict(calibrated(rescaled(1e-5, 3.0), 2.0))
    assert "is 2e-5 of the twin's" in found and "0.000" not in found


def test_a_margin_beyond_the_region_is_said_to_be() -> None:
    text = comparison_text(compare(rescaled(0.5, certified=True), "penalty"))
    (row,) = (line for line in text.splitlines() if line.startswith("margin over constant (median)  "))
    # margins 0.5, 1, 1.5 over 5, 10, 20: 0.1, 0.1, 0.075 in a region of radius 0.05
    assert (
        re.findall(r"0\.1, beyond the audited region \(0\.05\)", row) == ["0.1, beyond the audited region (0.05)"] * 2
    )
    assert "audited region (" not in comparison_text(compare(build(), "penalty"))
    figure = trajectory_figure(rescaled(0.5, certified=True), "penalty")
    words = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "(thin line: the radius of the region, 0.05; beyond it nothing is proved)." in words
    (line,) = (line for ax in figure.axes for line in ax.lines if line.get_gid() == "reach")
    assert list(line.get_ydata()) == [0.05, 0.05]
    assert all(
        line.get_gid() != "reach" for ax in trajectory_figure(build(margin=0.04), "penalty").axes for line in ax.lines
    )
    (entry,) = page_data(find_entries([Source("a", tuple(rescaled(0.5, certified=True)))])[0])["entries"]
    assert entry["row"]["margin"]["words"] == "0.1 (beyond)"


def test_the_ratio_of_calibrated_constants_is_their_movement() -> None:
    records = [
        replace(r, lower=r.lower * 3, upper=r.upper * 3)
        if isinstance(r, AuditRecord) and (r.run, r.epoch, r.point) == ("penalty", LAST, 2)
        else r
        for r in rescaled(0.5)
    ]
    comparison = calibrated(records, 1.0)
    rows = {row.name: row for block in comparison_blocks(comparison) for row in block.rows}
    geometric = (0.5 * 0.5 * 1.5) ** (1 / 3)
    assert float(rows["calibrated constant (T x combined)"].ratio) == pytest.approx(geometric, rel=1e-3)
    assert float(rows["combined [lower, upper]"].ratio) == pytest.approx((2.5 + 5 + 30) / 35, rel=1e-3)
    text = comparison_text(comparison)
    assert f"movement of the truth (E_reg / E_twin): {geometric:.4g}" in text
    assert "The ratio beside 'calibrated constant (T x combined)' is its movement; those of bound" in text


def test_a_transfer_is_as_wide_as_t_leaves_it(tmp_path: Path) -> None:
    told = [calibration("penalty", LAST, 1.0, error=0.1), calibration("twin", LAST, 1.0, error=0.0)]
    records = [*rescaled(0.5), *told]
    # bound and constant 0.5: log 0.5 + u over itself is 1 whatever u is; a bound of a third leaves a range
    records = [
        replace(r, upper=r.upper * 2 / 3)
        if isinstance(r, AuditRecord) and (r.run, r.epoch, r.estimator) == ("penalty", LAST, "affine_relu")
        else r
        for r in records
    ]
    ends = sorted((math.log(0.5) + u) / (math.log(1 / 3) + u) for u in (-0.2, 0.2))
    assert ends[1] - ends[0] > 0.05
    words = f"[{math.floor(1000 * ends[0]) / 1000:.3f}, {math.ceil(1000 * ends[1]) / 1000:.3f}]"
    assert f"  transfer: {words}, as far as T is known" in comparison_text(compare(records, "penalty"))
    page = Page(write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert f"{words} transfer Regularised / twin" in page.text
    (entry,) = json.loads(page.scripts[0])["entries"]
    assert entry["row"]["calibratedTransfer"]["words"] == entry["calibratedTransfer"][-1]["words"] == words


# ---------------------------------------------------------------- what outputs mean, and what is missing


@pytest.mark.parametrize("known", [False, True])
def test_of_regression_nothing_is_said_of_classes(known: bool) -> None:
    told = {"task": "values", "accuracy": None, "error": 0.0, "input_scale": 2.0, "target_scale": 4.0}
    more = [calibration(run, LAST, 0.5, **told) for run in ("penalty", "twin")] if known else []
    comparison = compare([*regression(), *more], "penalty")
    text = comparison_text(comparison)
    for words in ("calibrated output", "dividing all outputs", "logits", "T x"):
        assert words not in text, words
    if known:
        assert "in standard deviations of inputs and targets:" in text
    else:
        assert "Calibrated movement is undefined, as no record tells what their outputs mean" in text and HOW in text
    undefined = [*regression(), *(calibration(run, LAST, None, **told, why="constant") for run in ("penalty", "twin"))]
    assert "calibrated output" not in comparison_text(compare(undefined, "penalty"))


def test_an_accuracy_under_attack_has_its_sentence_without_margins_too() -> None:
    question = {"output": {"kind": "AllPairs"}}
    records = [
        replace(r, attacked=r.point == 2, question={**r.question, **question}) if isinstance(r, AuditRecord) else r
        for r in build()
    ]
    records = [replace(r, question={**r.question, **question}) if hasattr(r, "twin_id") else r for r in records]
    text = comparison_text(compare(records, "penalty"))
    assert "accuracy under attack (PGD)" in text and "margin over constant (median)" not in text
    assert "Under attack: the share of the points whose class is right and for which a search by gradients" in text


def test_a_page_of_old_and_new_records_says_whose_share_it_is(tmp_path: Path) -> None:
    records = [*at_the_end(build(), "penalty", attacked=False), calibration("penalty", LAST, 1.0)]
    page = Page(write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8")).text
    assert "under attack 100.0% (regularised) and n/a (twin)." in page
    assert "The records of twin tell of no calibration and no attack: an audit by this version" in page
    assert HOW in page, "what adds a calibration"
    assert "tell of no" not in comparison_text(compare(build(), "penalty")), "both are old, and say so in their verdict"


def test_tables_for_wandb_tell_a_lost_class_from_the_share_that_kept_it() -> None:
    pytest.importorskip("wandb")
    from lipreg.reporting.panels import audit_table

    audits = [r for r in at_the_end(build(), "penalty", attacked=True) if isinstance(r, AuditRecord)]
    table = audit_table(audits)
    assert "attacked" not in table.columns
    lost = [row[table.columns.index("class_lost_under_attack")] for row in table.data]
    assert lost == [r.attacked for r in audits] and True in lost


def test_a_card_has_figures_in_figure_size_and_words_as_words() -> None:
    told = value("0.1, beyond the audited region (0.05)", "twin", "twin")
    assert told == '<div class="value twin">0.1 <span>beyond the audited region (0.05) twin</span></div>'
    assert value("[0.1, 0.2]", "run") == '<div class="value">[0.1, 0.2] <span>run</span></div>'
