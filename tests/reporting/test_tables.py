"""The console table and its plain text, the words of a verdict, and the W&B views."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import Mock, call

import pytest
from rich.console import Console
from rich.table import Table

from lipreg.records import AuditRecord, Record, RunRecord
from lipreg.reporting.panels import audit_table, define_metrics
from lipreg.reporting.tables import comparison_table, comparison_text
from lipreg.reporting.verdicts import BUDGET, SEARCH, transfer_verdict
from lipreg.reporting.wording import at_least, at_most, between, share_between
from lipreg.results import Status
from lipreg.transfer import Interval, Movement, compare
from lipreg.words import plain


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(text: str, row: str) -> list[str]:
    """The cells of a printed row, which lie two spaces apart."""
    line = next(line for line in text.splitlines() if line.strip().startswith(row))
    return [cell.strip() for cell in line.strip().split("  ") if cell.strip()]


@pytest.mark.parametrize("view", ["table", "text"])
def test_both_views_show_the_hand_computed_figures(records: Sequence[Record], view: str) -> None:
    comparison = compare(records, "penalty")
    text = printed(comparison_table(comparison)) if view == "table" else comparison_text(comparison)
    # epoch 10, three points scaled by 1, 2 and 4: means are 7/3 of point 0, ratios are those of point 0
    assert cells(text, "validation accuracy")[1:] == ["91.0%", "93.5%", "-2.5 points"]
    assert cells(text, "bound (affine_relu)")[1:] == ["23.34", "93.34", "0.25"]
    assert cells(text, "LP relaxation")[1:] == ["14", "37.34", "0.375"]
    assert cells(text, "combined [lower, upper]")[1:] == ["[4.6666, 5.8334]", "[9.3333, 11.667]", "[0.4, 0.625]"]
    assert cells(text, "tightness")[1:] == ["[4, 5]", "[8, 10]"]
    # margins 0.1, 0.2, 0.3 over upper ends 2.5, 5, 10 and 5, 10, 20: 0.04, 0.04, 0.03 and half of that
    assert cells(text, "certified radius")[1:] == ["0.03666", "0.01833", "2"]
    # the same margins over [2, 2.5], [4, 5], [8, 10]: [0.04, 0.05], [0.04, 0.05], [0.03, 0.0375], and half of that
    assert cells(text, "margin over constant")[1:] == ["[0.04, 0.05]", "[0.02, 0.025]", "[1.6, 2.5]"]
    assert text.index("margin over constant") < text.index("bound (affine_relu)"), "scale-free figures lead"
    assert "transfer: [0.339, 0.661]" in text  # log2 of 0.625 and 0.4, over log2 of 1/4
    assert "33% to 67%" in " ".join(text.split())
    assert "penalty" in text and "twin" in text and "regional constant of AllMargins" in text


def test_it_is_said_what_the_rank_correlation_is_over(records: Sequence[Record]) -> None:
    said = "The rank correlation is Spearman's, of bound and combined over all audited points"
    trained = [r for r in records if getattr(r, "epoch", 10) > 0]
    once = [r for r in records if getattr(r, "epoch", 10) == 10]
    beyond = " and epochs, not those of this epoch alone"
    for found, over in (
        (records, f"{beyond}; the untrained network is among them."),
        (trained, f"{beyond}."),
        (once, "."),
    ):
        assert f"{said}{over}" in comparison_text(compare(found, "penalty")).splitlines()


def test_names_are_not_read_as_markup_or_control_codes(records: Sequence[Record]) -> None:
    hostile = "[bold red]boo[/] [link=http://x]\x1b[31m\u202e"
    bound = "[bold]b"
    renamed: list[Record] = []
    for r in records:
        more = {"run": hostile if r.run == "penalty" else r.run}
        if getattr(r, "bound", None) is not None:
            more["bound"] = bound
        if getattr(r, "estimator", "") == "affine_relu":
            more["estimator"] = bound
        renamed.append(type(r)(**{**vars(r), **more}))
    text = printed(comparison_table(compare(renamed, hostile)))
    assert "[bold red]boo[/]" in text.replace("\n", "") and "bound ([bold]b)" in text
    assert "\x1b" not in text and "\u202e" not in text
    assert "\x1b" not in comparison_text(compare(renamed, hostile))


def test_missing_figures_are_said_to_be_missing(records: Sequence[Record]) -> None:
    bare = [
        r for r in records if isinstance(r, RunRecord) or getattr(r, "estimator", "") in ("affine_relu", "combined")
    ]
    text = comparison_text(compare(bare, "penalty"))
    assert "validation accuracy" not in text and "LP relaxation  " not in text, "of neither run"
    assert "radius" in text
    mine_alone = [r for r in records if getattr(r, "estimator", "") != "lp" or r.run == "penalty"]
    assert cells(comparison_text(compare(mine_alone, "penalty")), "LP relaxation")[1:] == ["14", "n/a", "n/a"]


def test_left_out_points_are_named(records: Sequence[Record]) -> None:
    cut = [
        r
        for r in records
        if not (isinstance(r, AuditRecord) and (r.run, r.point, r.estimator) == ("twin", 2, "combined"))
    ]
    text = comparison_text(compare(cut, "penalty"))
    assert "Left out, not audited in both runs: point 2." in text
    assert "Means over 2 reference points after 10 epochs" in text


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(-0.02, 0.03), "Only the bound moved"),
        (Interval(-0.5, -0.1), "went the other way"),
        (Interval(-0.2, 0.6), "Not decided"),
        (Interval(-0.2, 0.6), "At most 60%"),
        (Interval(0.0, 0.6), "Not decided"),
        (Interval(-math.inf, math.inf), "Not decided"),
        (Interval(0.97, 1.02), "by about the same factor"),
        (Interval(1.2, math.inf), "moved further"),
        (Interval(0.301, 0.599), "30% to 60%"),
        (Interval(0.5, 1.5), "at least 50%"),
    ],
)
def test_the_verdict_says_what_the_interval_supports(interval: Interval, said: str) -> None:
    assert said in transfer_verdict(Movement(3, Interval(0.5, 0.9), 0.4, interval))


def test_the_verdict_names_the_direction_and_the_reason() -> None:
    wrong_way = Interval(-0.5, -0.1)
    assert "the bound fell, and the exact constant rose" in transfer_verdict(Movement(1, None, 0.5, wrong_way))
    assert "the bound rose, and the exact constant fell" in transfer_verdict(Movement(1, None, 2.0, wrong_way))
    assert transfer_verdict(Movement(0, None, None, None, "nothing was audited")).endswith(
        "undefined: nothing was audited."
    )


def test_printed_ends_stay_on_the_safe_side() -> None:
    assert at_most(1.00001) == "1.001" and at_least(1.99999) == "1.999"
    assert at_most(math.inf) == "not proved" and at_most(None) == "n/a" and at_most(0.0) == "0"
    assert between(Interval(0.123449, 123456.0)) == "[0.1234, 1.235e5]"
    assert between(Interval(2.0, 2.0 * (1 + 1e-6))) == "2"
    assert between(Interval(0.0, math.inf)) == "[0, inf]"
    assert share_between(Interval(-0.0004, 0.0004)) == "[-0.001, 0.001]"
    assert share_between(Interval(-math.inf, 0.5)) == "[-inf, 0.500]"
    assert plain("a\nb\x00") == "a b\N{REPLACEMENT CHARACTER}" and len(plain("x" * 900, 50)) == 50


def test_wandb_table_keeps_the_records_and_leaves_unproved_ends_empty(records: Sequence[Record]) -> None:
    audits = [r for r in records if isinstance(r, AuditRecord)]
    table = audit_table(audits)
    assert len(table.data) == len(audits)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.data]
    assert {"run", "epoch", "point", "estimator", "lower", "upper", "certificate", "status"} <= rows[0].keys()
    assert not {"question", "witness", "versions"} & rows[0].keys()
    for row, audit in zip(rows, audits, strict=True):
        assert row["upper"] == (None if audit.upper == math.inf else audit.upper)
    assert any(row["upper"] is None for row in rows)


def test_audit_metrics_get_their_own_axis() -> None:
    run = Mock()
    define_metrics(run, ["audit/lp", "small/lp"])
    given = [call("audit/epoch"), *(call(f"{name}/lp", step_metric="audit/epoch") for name in ("audit", "small"))]
    assert run.define_metric.call_args_list == given


def test_a_larger_budget_is_advised_only_where_one_ran_out(records: Sequence[Record]) -> None:
    """Elsewhere more of it changes nothing, and a search does."""
    for status, said in ((Status.BOUNDED, SEARCH), (Status.MEMORY_LIMIT, SEARCH), (Status.TIME_LIMIT, BUDGET)):
        wide = [
            replace(r, status=status, lower=r.lower / 4, upper=4 * r.upper)
            if isinstance(r, AuditRecord) and r.estimator == "combined"
            else replace(r, status=Status.BOUNDED)
            if isinstance(r, AuditRecord)
            else r
            for r in records
        ]
        text = " ".join(comparison_text(compare(wide, "penalty")).split())
        assert "Not decided" in text and said in text
        assert (BUDGET in text) == (said == BUDGET)
