"""Ids tell runs apart: what is of one training stays with it, whatever others of its name are in the same files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lipreg.errors import InvalidInput
from lipreg.records import (
    AuditRecord,
    EpochRecord,
    Record,
    RecordFile,
    RunRecord,
    Source,
    each_once,
    read_records,
    started_now,
)
from lipreg.reporting.frames import audit_frame
from lipreg.reporting.html import write_report
from lipreg.reporting.runs import find_entries
from lipreg.runs import choose_run, recorded_runs
from lipreg.transfer import compare, find_pair
from tests.test_transfer import ALL, INTERVAL, by_recipes, two_points


def trained(key: str, bound: float = 1.0, **changes: Any) -> list[Record]:
    """A regularised run, its bounds ``bound`` times as large, and its twin; ids ``key-reg`` and ``key-twin``."""
    found: list[Record] = []
    for r in two_points():
        own = f"{key}-{r.run}"
        if isinstance(r, RunRecord):
            found.append(replace(r, id=own, twin_id=f"{key}-twin" if r.twin else "", **changes))
        elif isinstance(r, AuditRecord):
            scale = bound if (r.run, r.estimator) == ("reg", "affine_relu") else 1.0
            found.append(replace(r, run_id=own, upper=scale * r.upper, fingerprint=own))
        else:
            found.append(replace(r, run_id=own))
    return found


def test_two_trainings_of_one_name_and_seed_are_two() -> None:
    """A script that ran twice in one folder: its networks were mixed into one table, epoch by epoch."""
    once, again = trained("a"), trained("b", bound=1.5)
    both = [*once, *again]
    assert [run.key for run in recorded_runs(both)] == ["a-reg", "a-twin", "b-reg", "b-twin"]
    assert compare(both, "a-reg") == compare(once, "a-reg") == compare(once, "reg")
    assert compare(both, "b-reg").regularised.bound == 1.5 * compare(both, "a-reg").regularised.bound
    with pytest.raises(InvalidInput, match="2 runs are called 'reg'") as refused:
        compare(both, "reg")
    assert "id a-reg" in refused.value.accepted and "id b-reg" in refused.value.accepted
    assert set(audit_frame(both).run_id) == {"a-reg", "a-twin", "b-reg", "b-twin"}


def test_the_report_shows_them_as_two_runs() -> None:
    entries, left_out = find_entries([Source("records.jsonl", (*trained("a"), *trained("b", bound=1.5)))])
    assert left_out == []
    assert [e.twin and e.twin.run.record.id for e in entries] == ["a-twin", "b-twin"]
    assert [e.label for e in entries] == [
        "weight 0.1, seed 1 (records.jsonl, id a-reg)",
        "weight 0.1, seed 1 (records.jsonl, id b-reg)",
    ]
    assert [e.last.regularised.bound for e in entries if e.last] == [6.0, 9.0]


def test_bounds_of_two_recipes_are_not_shown_as_one() -> None:
    (entry, *_), left_out = find_entries([Source("records.jsonl", tuple(by_recipes(INTERVAL, ALL, INTERVAL)))])
    assert left_out == [] and entry.twin is None and entry.comparisons == {}
    assert entry.trouble.startswith("not compared with twin") and "preactivations" in entry.trouble


def test_a_report_of_one_run_holds_no_other_of_its_name(tmp_path: Any) -> None:
    both = [*trained("a"), *trained("b", bound=1.5)]
    one = write_report(both, tmp_path / "one.html", "b-reg").read_text()
    assert one == write_report(trained("b", bound=1.5), tmp_path / "two.html", "reg").read_text()


def test_a_resume_replaces_what_it_left_behind() -> None:
    """A training that went to epoch 4, and on from its checkpoint of epoch 2 to epoch 3: epoch 4 is of other weights."""
    audits = [
        AuditRecord("r", e, 0, -1, "lp", "upper", "bounded", 0.0, 9.0, 0.0, "f", {}, f"first {e}", run_id="x")
        for e in range(5)
    ]
    epochs = [EpochRecord("r", e, {"val_accuracy": 0.5}, "x") for e in range(1, 5)]
    first = [RunRecord("r", id="x", started="2026-01-01T00:00:00+00:00"), *audits, *epochs]
    resumed = [
        RunRecord("r", id="x", start_epoch=2, started="2026-01-02T00:00:00+00:00"),
        replace(audits[3], fingerprint="second 3"),
    ]
    for order in ((first, resumed), (resumed, first)):  # files are read by name, not by age
        (run,) = recorded_runs([r for part in order for r in part])
        assert [r.fingerprint for r in run.audits] == ["first 0", "first 1", "first 2", "second 3"]
        assert [r.epoch for r in run.epochs] == [1, 2] and run.last_epoch == 3
    frame = audit_frame([*first, *resumed])
    assert frame.fingerprint.tolist() == ["first 0", "first 1", "first 2", "second 3"]


def test_a_run_that_begins_twice_within_a_second_is_begun_twice() -> None:
    """From a damaged checkpoint a restarted run begins anew, at once: what the first attempt recorded is void."""
    audit = AuditRecord("r", 2, 0, -1, "lp", "upper", "bounded", 0.0, 9.0, 0.1, "f", {}, "w", run_id="x")
    moments = sorted({started_now() for _ in range(1000)})
    assert len(moments) > 1
    first, second = (RunRecord("r", id="x", started=moment) for moment in (moments[0], moments[-1]))
    (run,) = recorded_runs([first, audit, second, replace(audit, seconds=0.2)])
    assert [r.seconds for r in run.audits] == [0.2]


def test_a_resumed_run_in_two_files_is_one_in_the_report() -> None:
    records = trained("a")
    half = len(records) // 2
    entries, _ = find_entries([Source("version_0", tuple(records[:half])), Source("version_1", tuple(records[half:]))])
    (entry,) = entries
    assert entry.last == compare(records, "reg") and entry.label == "weight 0.1, seed 1"


def test_records_without_ids_go_by_name_beside_those_with_one() -> None:
    old = two_points()
    runs = recorded_runs([*old, *trained("a")])
    assert [(run.label, run.record.id) for run in runs] == [
        ("reg", ""),
        ("twin", ""),
        ("reg", "a-reg"),
        ("twin", "a-twin"),
    ]
    assert compare(old, "reg").movement == compare(trained("a"), "reg").movement


def test_two_runs_of_one_label_are_told_apart_as_columns() -> None:
    """The default label of an audit is the same in both trainings."""
    alike = [
        replace(r, run="run", **({"twin": "run"} if isinstance(r, RunRecord) and r.twin else {})) for r in trained("a")
    ]
    found = compare(alike, "a-reg")
    assert (found.regularised.run, found.twin.run) == ("run", "run (a-twin)")
    assert found.movement == compare(trained("a"), "reg").movement
    assert [side.trajectory[-1].bound for side in find_pair(alike, "a-reg").sides] == [6.0, 12.0]


def test_candidates_are_said_with_id_time_seed_and_epochs() -> None:
    runs = recorded_runs([*trained("a", started="2026-01-01T00:00:00+00:00"), *trained("b", seed=None)])
    with pytest.raises(InvalidInput) as refused:
        choose_run(runs, "twin", "LipschitzAudit")
    assert "'twin' (id a-twin, started 2026-01-01T00:00:00+00:00, seed 1, 3 epochs)" in refused.value.accepted
    assert "'twin' (id b-twin, no seed, 3 epochs)" in refused.value.accepted
    chosen = choose_run(runs, "b-twin", "LipschitzAudit")
    assert chosen is not None and chosen.record.seed is None
    assert choose_run(runs, "nobody", "LipschitzAudit") is None


def test_records_that_are_there_twice_count_once(tmp_path: Any) -> None:
    both = [*trained("a"), *trained("b", bound=1.5)]
    for name in ("one", "copy"):
        RecordFile(tmp_path / f"{name}.jsonl").append(*both)
    assert read_records(tmp_path) == both
    RecordFile(tmp_path / "one.jsonl").append(*both)
    assert read_records(tmp_path / "one.jsonl") == both
    assert recorded_runs([*both, *both]) == recorded_runs(both)
    nameless = [replace(record, **{"id" if isinstance(record, RunRecord) else "run_id": ""}) for record in both]
    assert list(each_once([*nameless, *nameless])) == [*nameless, *nameless]  # of another run, for all that is known


def test_what_a_resumed_run_says_again_is_no_copy() -> None:
    said = [EpochRecord("r", epoch, {"loss": 1.0}, run_id="x") for epoch in (1, 2, 3)]
    begun, resumed = (RunRecord("r", id="x", start_epoch=e, started=f"{e}") for e in (0, 2))
    whole = [begun, *said, resumed, said[2]]
    assert list(each_once(whole)) == whole
    (run,) = recorded_runs([*whole, *whole])
    assert run.epochs == tuple(said)
