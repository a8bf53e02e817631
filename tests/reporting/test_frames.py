"""Audit records as a pandas table."""

from __future__ import annotations

import math
from dataclasses import replace

from lipreg.records import AuditRecord, EpochRecord, RunRecord
from lipreg.reporting.frames import audit_frame

QUESTION = {"scope": "regional", "p": "inf", "region": {"kind": "LinfBall", "radius": 0.1}}
RECORD = AuditRecord("run", 3, 0, 7, "mip", "upper", "time limit", 0.0, math.inf, 1.5, "logit 7", QUESTION, "abc")


def test_one_row_an_audit_with_the_question_flattened() -> None:
    other = replace(RECORD, point=1, lower=1.0, upper=2.0)
    frame = audit_frame([RunRecord("run"), RECORD, EpochRecord("run", 3), other])
    assert frame[["point", "lower", "upper"]].to_numpy().tolist() == [[0, 0.0, math.inf], [1, 1.0, 2.0]]
    assert set(frame["question.region.radius"]) == {0.1}
    assert "question" not in frame


def test_a_repeated_audit_counts_once_with_its_last_record() -> None:
    frame = audit_frame([RECORD, replace(RECORD, estimator="lp"), replace(RECORD, upper=5.0)])
    assert dict(zip(frame.estimator, frame.upper, strict=True)) == {"lp": math.inf, "mip": 5.0}


def test_two_runs_of_one_name_are_two_in_the_table() -> None:
    one, two = replace(RECORD, run_id="a"), replace(RECORD, run_id="b", upper=5.0)
    frame = audit_frame([one, two])
    assert dict(zip(frame.run_id, frame.upper, strict=True)) == {"a": math.inf, "b": 5.0}


def test_no_audits_make_an_empty_table_with_the_columns() -> None:
    frame = audit_frame([RunRecord("run")])
    assert len(frame) == 0
    assert {"run", "epoch", "upper"} <= set(frame)
