"""The journal of an audit: what is written how often, and that nothing of it is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lipreg.auditing import AuditPlan, audit
from lipreg.auditing.journal import EVERY, Journal
from lipreg.budget import Budget
from lipreg.records import AuditRecord, RecordFile, RunRecord, read_records
from tests.auditing.cases import NET, PROBLEM, X, Y
from tests.test_budget import Clock


def test_points_in_work_are_written_once_in_a_while_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each word on a point replaces the one before it, and what waits at the end is written with the rest."""
    found = audit(NET, AuditPlan(PROBLEM, ("affine_relu", "branch_and_bound"), Budget(30.0)), X, Y)
    clock, path, writes = Clock(), tmp_path / "records.jsonl", list[int]()
    append = RecordFile.append

    def counted(file: RecordFile, *records: AuditRecord) -> None:
        writes.append(len(records))
        append(file, *records)

    journal = Journal(path, "a", run_id="1", clock=clock)
    journal.append(RunRecord("a", id="1"))
    monkeypatch.setattr(RecordFile, "append", counted)
    for _ in range(20):
        for point in found:
            journal.advance(point, 0, None)
    each = len(found[0].intervals)
    assert writes == [each], "the first at once, the others wait"
    clock.now += EVERY
    journal.advance(found[0], 0, None)
    assert writes == [each, each * len(found)]
    journal.advance(replace(found[1], label=7), 0, None)
    journal.keep(found[0], 0, None)
    assert {record.label for record in journal.proved() if record.point == 1} == {7}
    journal.close()
    saved = [record for record in read_records(path) if isinstance(record, AuditRecord)]
    assert {record.point for record in saved} == set(range(len(found))) and not list(tmp_path.glob("*.partial"))
    assert {record.label for record in saved if record.point == 1} == {7}
