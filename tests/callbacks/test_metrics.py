"""A name that is logged is the number that tables and pages show under it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan
from lipreg.auditing import audit as audit_points
from lipreg.callbacks.metrics import summary
from lipreg.records import AuditRecord, read_records
from lipreg.reporting.html import write_report
from lipreg.reporting.panels import points_table
from lipreg.reporting.wording import between, nearest
from lipreg.results import Status
from lipreg.transfer import compare
from tests import oracles
from tests.callbacks.test_runs_of_trainings import audit, regularizer, train
from tests.reporting.pages import Page


def test_the_logged_tightness_is_that_of_tables_and_pages(tmp_path: Path) -> None:
    train(tmp_path, audit(run="plain", points=3, at_start=False), max_epochs=1)
    mine = audit(run="penalty", twin="plain", points=3, at_start=False)
    trainer = train(tmp_path, regularizer(), mine, max_epochs=1)
    records = read_records(tmp_path)
    shown = compare(records, mine.run_id).regularised
    assert shown.tightness is not None and len({p.tightness for p in shown.points}) == 3
    logged = float(trainer.callback_metrics["audit/tightness"])
    assert logged == pytest.approx(shown.tightness.lower, rel=1e-6)
    assert abs(logged - shown.bound / shown.combined.upper) > 1e-6 * logged, "a ratio of means is another number"
    page = Page(write_report(records, tmp_path / "r.html", mine.run_id).read_text(encoding="utf-8")).text
    words = re.search(r"Tightness.{0,60}", page)
    assert words and nearest(logged) in words[0] and between(shown.tightness) == nearest(logged)


def test_the_tightness_of_a_row_is_that_of_its_point(tmp_path: Path) -> None:
    mine = audit(run="penalty", points=3, at_start=False)
    trainer = train(tmp_path, regularizer(), mine, max_epochs=1)
    assert mine._points is not None
    records = [r for r in read_records(tmp_path) if isinstance(r, AuditRecord)]
    table = points_table(records, mine._points[0], "affine_relu")
    rows = [dict(zip(table.columns, row, strict=True))["tightness"] for row in table.data]
    assert len(rows) == 3
    product = rows[0] * rows[1] * rows[2]
    assert float(trainer.callback_metrics["audit/tightness"]) == pytest.approx(product ** (1 / 3), rel=1e-6)


def test_points_without_a_witness_are_left_out_of_the_mean_and_counted() -> None:
    plan = AuditPlan(LocalLipschitz(LinfBall(0.1), AllLogits()), ("sampling",), Budget(60.0))
    x = torch.linspace(-0.5, 0.5, 6, dtype=torch.float64).reshape(3, 2)
    audits = list(audit_points(oracles.mlp(2, 6, 3).double(), plan, x))
    whole = summary(audits, None)
    assert "audit/sampling_points" not in whole
    cut = replace(audits[2].intervals["sampling"], lower=0.0, witness=None, status=Status.TIME_LIMIT)
    audits[2] = replace(audits[2], intervals={**audits[2].intervals, "sampling": cut})
    short = summary(audits, None)
    lowers = [one.intervals["sampling"].lower for one in audits[:2]]
    assert short["audit/sampling"] == pytest.approx(sum(lowers) / 2, rel=1e-6) and short["audit/sampling_points"] == 2.0
