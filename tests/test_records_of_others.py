"""Records as no version of today has written them: of a newer lipreg, with other fields, or less; whoever reads goes on."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipreg.errors import InvalidInput
from lipreg.ranges import DerivativeRange, RangeEnd
from lipreg.records import (
    SCHEMA,
    CalibrationRecord,
    DerivativeRecord,
    EpochRecord,
    NewerRun,
    PointRecord,
    PopulationRecord,
    Record,
    RunRecord,
    from_line,
    read_records,
    read_sources,
    to_line,
)
from lipreg.reporting.html import write_runs_report
from lipreg.runs import recorded_runs
from lipreg.transfer.likeness import likeness
from tests.reporting.conftest import audit, build
from tests.reporting.pages import Page

END = RangeEnd(-math.inf, math.inf)
EACH: dict[str, Record] = {
    "run": RunRecord("penalty", "twin", 0, "affine_relu", 0.01, id="1f", penalty={"quantity": "affine_relu"}),
    "epoch": EpochRecord("penalty", 3, {"val_accuracy": 0.5}, step=9),
    "point": PointRecord.of(np.array([0.1, 0.2]), "penalty", "1f", 0),
    "audit": audit("penalty", 3, 0, "combined", 1.0, 2.0, witness=[0.1, 0.2]),
    "calibration": CalibrationRecord("penalty", 3, "f", "classes", 2, "r", 1.5, 0.1, influences=[0.1, -0.1]),
    "derivative": DerivativeRecord("penalty", 3, DerivativeRange({"region": {}}, 0, "logit 1", 2, END, END).plain()),
    "population": PopulationRecord("penalty", 0, 5, 0, 0.9, "planned", "", True, [1], [0.5], [None], [], []),
}
each = pytest.mark.parametrize("record", EACH.values(), ids=EACH)
VALUES = (None, True, -1, 10**400, 0.5, "", "word", [], [None], {}, {"a": [1]}, "ü")


def mutations(record: Record, seed: int) -> list[dict[str, Any]]:
    """Newer schemas, unknown kinds and fields, missing fields, and values of every sort in each field."""
    plain, draw = json.loads(to_line(record)), random.Random(seed)
    found = [plain | {"schema": schema} for schema in (SCHEMA + 1, SCHEMA + 40, 0, -1, None, "7", 7.0, True)]
    found += [plain | {"schema": SCHEMA + 1, "kind": kind} for kind in (*EACH, "song", None, 3, ["run"])]
    found += [plain | {"kind": kind} for kind in (*EACH, "song", None, 3, ["run"])]
    found += [plain | {"colour": value} for value in VALUES] + [plain | {"schema": SCHEMA + 1, "colour": "red"}]
    found += [{k: v for k, v in plain.items() if k != name} for name in plain]
    found += [{"schema": SCHEMA + 1, "kind": plain["kind"]}, {"schema": SCHEMA, "kind": plain["kind"]}]
    return found + [plain | {draw.choice(list(plain)): draw.choice(VALUES)} for _ in range(150)]


@each
def test_whatever_a_line_holds_it_is_a_record_or_refused_in_our_words(record: Record) -> None:
    for data in mutations(record, 0):
        line = json.dumps(data)
        try:
            again = from_line(line, "file x, line 7")
        except InvalidInput as error:
            assert "file x, line 7" in str(error), line[:300]
        else:
            assert from_line(to_line(again)) == again


@each
@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_page_shows_the_good_records_around_it(record: Record, tmp_path: Path) -> None:
    """A line that says nothing costs itself; one that says what nothing can have written costs its file, which is named."""
    good = build()
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    other.write_text("".join(to_line(each) + "\n" for each in good), encoding="utf-8")
    for data in random.Random(1).sample(mutations(record, 2), 25):
        path.write_text(
            "".join([to_line(good[0]), "\n", json.dumps(data), "\n", to_line(good[2]), "\n"]), encoding="utf-8"
        )
        sources = read_sources(tmp_path)
        read = {source.name: source.records for source in sources.files}
        assert read["b.jsonl"] == tuple(good)
        if "a.jsonl" in read:
            assert (read["a.jsonl"][0], read["a.jsonl"][-1]) == (good[0], good[2])
        else:
            assert [left.name for left in sources.left_out] == ["a.jsonl"]
        Page(write_runs_report(sources, tmp_path / "report.html").read_text(encoding="utf-8"))


def newer(record: RunRecord, **more: Any) -> str:
    return json.dumps(json.loads(to_line(record)) | {"schema": SCHEMA + 1, "penalty": [["new"]], **more})


@pytest.mark.filterwarnings("ignore:.*newer lipreg")
@pytest.mark.parametrize("is_twin", [False, True], ids=["penalised", "twin"])
def test_what_a_newer_version_has_trained_is_not_said_to_be_without_a_penalty(is_twin: bool, tmp_path: Path) -> None:
    records = build()
    told = [to_line(record) for record in records]
    record = records[is_twin]
    assert isinstance(record, RunRecord)
    told[is_twin] = newer(record)
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(told) + "\n", encoding="utf-8")
    runs = recorded_runs(read_records(path))
    assert isinstance(runs[is_twin].record, NewerRun) and runs[is_twin].label == record.run
    shown = Page(write_runs_report(read_sources(path), tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "written by a newer lipreg" in shown and f"records.jsonl, {len(records) - 1} records" in shown
    if is_twin:
        assert likeness(*runs).doubts[0].startswith("What 'twin' was trained with is not known")
        assert "What 'twin' was trained with is not known" in shown
    else:
        assert "weight 0 " not in shown and " none " in shown, "of the twin, which has none"
        assert shown.count(" none ") == 1
        assert "penalty, penalty not known, written by a newer lipreg" in shown


@pytest.mark.filterwarnings("ignore:.*newer lipreg")
def test_a_run_that_a_newer_version_went_on_with_keeps_what_was_proved_before(tmp_path: Path) -> None:
    first = RunRecord(
        "a", id="1f", bound="affine_relu", weight=0.1, penalty={"quantity": "affine_relu"}, started="2026-01-01"
    )
    before, after = (audit("a", epoch, 0, "combined", 1.0, 1.0, run_id="1f") for epoch in (2, 4))
    lines = [to_line(first), to_line(before), newer(first, start_epoch=2), to_line(after)]
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (run,) = recorded_runs(read_records(path))
    assert run.audits == (before, after) and run.penalised
    assert isinstance(run.record, NewerRun) and run.record.penalty == {} and run.record.bound == "affine_relu"
    with pytest.raises(InvalidInput, match="newer lipreg"):
        to_line(run.record)
