"""Records: one strict JSON line each, read back as written, on disk when ``append`` returns."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipreg.errors import InvalidInput
from lipreg.outputs import AllMargins, Combination, Margin
from lipreg.problem import LocalLipschitz
from lipreg.records import (
    READABLE,
    SCHEMA,
    AuditRecord,
    CalibrationRecord,
    DamagedLine,
    EpochRecord,
    Record,
    RecordFile,
    RunRecord,
    current_metric,
    field_names,
    from_line,
    read_records,
    read_sources,
    to_line,
)
from lipreg.regions import Box, LinfBall

QUESTION = LocalLipschitz(LinfBall(0.1, low=0.0), AllMargins()).describe()
AUDIT = AuditRecord(
    run="run 1",
    epoch=3,
    point=7,
    label=2,
    estimator="mip",
    certificate="bracket",
    status="time limit",
    lower=1.25,
    upper=2.5,
    seconds=0.75,
    functional="margin 2 - 5",
    question=QUESTION,
    fingerprint="0123456789abcdef",
    correct=True,
    margin=0.5,
    penalised=True,
    proof="MIP dual bound",
    detail="HiGHS, 12 nodes",
    witness=[0.1, 0.2],
    versions={"lipreg": "0.1.0"},
)
RECORDS: dict[str, Record] = {
    "run": RunRecord("run 1", "twin 1", 0, "affine_relu", 0.01, QUESTION, "a question", {"lr": 0.1, "layers": [3, 4]}),
    "plain_run": RunRecord("twin 1"),
    "epoch": EpochRecord("run 1", 3, {"val_acc": 0.5, "val_loss": 1e-300}),
    "audit": AUDIT,
    "open_audit": replace(AUDIT, upper=math.inf, proof="", certificate="lower"),
    "unlabelled": replace(AUDIT, label=-1, correct=None, margin=None, witness=None, estimate=1.0),
    "text": replace(AUDIT, detail='line\nbreak, "quotes", tab\t, \u2028, Größe'),
}
each_record = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)


@each_record
def test_a_record_is_one_line_of_strict_json(record: Record) -> None:
    line = to_line(record)
    assert len(line.splitlines()) == 1

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is not strict JSON")

    data = json.loads(line, parse_constant=refuse)
    assert data["kind"] == record.kind and data["schema"] == SCHEMA
    assert set(data) == {"schema", "kind", *field_names(type(record))}


@each_record
def test_records_round_trip(record: Record) -> None:
    assert from_line(to_line(record)) == record


@pytest.mark.parametrize("name", ["inf", "nan", "-inf"])
def test_names_that_look_like_numbers_stay_names(name: str) -> None:
    for record in (RunRecord(name, sentence=name), EpochRecord(name, 1), replace(AUDIT, run=name, functional=name)):
        assert from_line(to_line(record)) == record


@given(lower=st.floats(0, 1e300), upper=st.one_of(st.floats(0, 1e300), st.just(math.inf)), seconds=st.floats(0, 1e6))
def test_every_number_survives(lower: float, upper: float, seconds: float) -> None:
    record = replace(AUDIT, lower=min(lower, upper), upper=max(lower, upper), seconds=seconds)
    assert from_line(to_line(record)) == record


@pytest.mark.parametrize(("lower", "upper"), [(2.0, 1.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0)])
def test_ends_that_cross_or_are_no_numbers_are_refused_at_writing_and_reading(lower: float, upper: float) -> None:
    with pytest.raises(InvalidInput, match="of 'mip', run 'run 1', epoch 3, point 7"):
        to_line(replace(AUDIT, lower=lower, upper=upper))
    written = json.dumps(json.loads(to_line(AUDIT)) | {"lower": lower, "upper": upper})
    with pytest.raises(InvalidInput, match="line 4"):
        from_line(written, "line 4")
    assert from_line(to_line(replace(AUDIT, lower=1.5, upper=1.5))).upper == 1.5  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lower": -1.0, "upper": -1.0}, "0 <= lower"),
        ({"certificate": "exact", "lower": 0.0, "upper": 5.0}, "ends that meet"),
        ({"lower": "1"}, "a number"),
        ({"upper": True}, "a number"),
        ({"epoch": -3}, "epoch=-3 .0 or more"),
        ({"point": -1}, "point=-1"),
        ({"seconds": -3}, "seconds=-3"),
        ({"certificate": "sure"}, "certificate='sure' .upper, lower, bracket, exact, estimate"),
        ({"status": "whatever"}, "status='whatever' .proved"),
        ({"weights": "foo"}, "weights='foo' .training, averaged, replaced"),
    ],
)
def test_records_that_nothing_can_have_written_are_refused(changed: dict[str, Any], words: str) -> None:
    written = json.dumps(json.loads(to_line(AUDIT)) | changed)
    with pytest.raises(InvalidInput, match=words):
        from_line(written, "line 4")


NUMBERS = (
    "epoch",
    "point",
    "label",
    "lower",
    "upper",
    "seconds",
    "margin",
    "estimate",
    "step",
    "witness",
    "families",
    "tolerances",
)


@pytest.mark.parametrize("digits", ["1" + "0" * 400, "1" + "0" * 5000, "1e400"], ids=["401", "5001", "exponent"])
@pytest.mark.parametrize("name", [*NUMBERS, "question", "schema"])
def test_a_number_beyond_float64_is_a_damaged_line(name: str, digits: str) -> None:
    data = json.loads(to_line(AUDIT))
    around = {"witness": "[%s]", "families": "[%s]", "tolerances": '{"a": %s}', "question": '{"radius": %s}'}
    written = json.dumps(data | {name: "HERE"}).replace('"HERE"', around.get(name, "%s") % digits)
    with pytest.raises(DamagedLine, match="is no number"):
        from_line(written)
    if name not in around and len(digits) == 401 and name != "schema":
        with pytest.raises(InvalidInput, match=name):
            to_line(replace(AUDIT, **{name: int(digits)}))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "JSON, but not an object"),
        ("{", "cut off, or no JSON from column"),
        (b"\xff{}", "no text in UTF-8"),
        ("{}", "no field 'schema'"),
        ('{"schema": true, "kind": "run", "run": "a"}', "unknown schema 'True'"),
        ('{"schema": 2.0, "kind": "run", "run": "a"}', "unknown schema '2.0'"),
        ('{"schema": 2, "run": "a"}', "no field 'kind' .run, epoch, point, audit, calibration"),
        ('{"schema": 2, "kind": ["audit"]}', "unknown kind"),
        ('{"schema": 2, "kind": "run"}', "run record with no field 'run'"),
        ('{"schema": 2, "kind": "run", "run": "a", "colour": 1}', "run record with the unknown field 'colour'"),
        ('{"schema": 2, "kind": "epoch", "run": "a", "epoch": "3"}', "epoch record with epoch='3' .a whole number"),
        ('{"schema": 2, "kind": "epoch", "run": null, "epoch": 3}', "run=None .text"),
        ('{"schema": 2, "kind": "epoch", "run": "a", "epoch": 3, "metrics": []}', r"metrics=\[\] .numbers by name"),
        ('{"schema": 2, "kind": "run", "run": "a", "seed": "0"}', "seed='0' .a whole number or null"),
    ],
)
def test_damage_is_said_in_words(line: str | bytes, words: str) -> None:
    with pytest.raises(DamagedLine, match=words):
        from_line(line)


@pytest.mark.parametrize(
    "problem",
    [
        LocalLipschitz(Box([0.0, 0.5], [1.0, 0.5]), Margin(0, 1)),
        LocalLipschitz(LinfBall(0.1), Combination((1.0, -2.0))),
        LocalLipschitz(Box(0.0, 1.0), AllMargins(), "pointed", 2),  # type: ignore[arg-type]
    ],
    ids=["box", "combination", "pointed"],
)
def test_questions_stay_comparable(problem: LocalLipschitz) -> None:
    record = replace(AUDIT, question=problem.describe())
    again = from_line(to_line(record))
    assert again == record
    assert isinstance(again, AuditRecord) and again.question == problem.describe()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '{"schema": 1}',
        '{"schema": 1, "kind": "song", "run": "a"}',
        '{"schema": 1, "kind": "run"}',
        '{"schema": 1, "kind": "run", "run": "a", "colour": "red"}',
        '{"kind": "run", "run": "a"}',
    ],
)
def test_other_lines_are_refused_with_their_place(line: str) -> None:
    with pytest.raises(InvalidInput, match="file x, line 7"):
        from_line(line, "file x, line 7")


def test_a_newer_schema_is_refused_by_number() -> None:
    data = json.loads(to_line(AUDIT)) | {"schema": SCHEMA + 1}
    with pytest.raises(InvalidInput, match=f"schema {SCHEMA + 1}, written by a newer lipreg"):
        from_line(json.dumps(data))


def test_a_diverged_run_is_still_recorded_or_refused_in_our_words() -> None:
    """A loss of NaN must not end the training with json's own error."""
    for value in (math.nan, math.inf):
        try:
            line = to_line(EpochRecord("run 1", 1, {"val_loss": value}))
        except InvalidInput as error:
            assert "run 1" in str(error)
        else:
            again = from_line(line)
            assert isinstance(again, EpochRecord) and repr(again.metrics["val_loss"]) in (repr(value), "None")


# ---------------------------------------------------------------- files


def test_appended_records_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "records.jsonl"
    file = RecordFile(path)
    for record in RECORDS.values():
        file.append(record)
        assert path.read_text(encoding="utf-8").endswith("\n")
    assert read_records(path) == list(RECORDS.values())
    assert read_records(tmp_path) == list(RECORDS.values())
    RecordFile(path).append(RECORDS["run"])
    assert len(read_records(path)) == len(RECORDS) + 1


def test_several_files_and_folders(tmp_path: Path) -> None:
    RecordFile(tmp_path / "b" / "records.jsonl").append(RunRecord("b"))
    RecordFile(tmp_path / "a" / "records.jsonl").append(RunRecord("a"))
    (tmp_path / "a" / "notes.txt").write_text("not a record")
    assert read_records(tmp_path) == [RunRecord("a"), RunRecord("b")]
    assert read_records([tmp_path / "b", tmp_path / "a" / "records.jsonl"]) == [RunRecord("b"), RunRecord("a")]
    assert read_records(str(tmp_path / "a")) == [RunRecord("a")]


def test_an_empty_file_holds_no_records(tmp_path: Path) -> None:
    RecordFile(tmp_path / "records.jsonl")
    assert read_records(tmp_path) == []


def test_a_last_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    whole = to_line(RunRecord("a")) + "\n"
    last = to_line(AUDIT)
    for cut in (1, 10, len(last) // 2, len(last) - 1):
        path.write_text(whole + last[:cut], encoding="utf-8")
        assert read_records(path) == [RunRecord("a")]
    path.write_text(whole + last, encoding="utf-8")  # only the line break is missing
    assert read_records(path) == [RunRecord("a"), AUDIT]


@pytest.mark.parametrize("cut", [12, None], ids=["cut", "no_line_break"])
def test_a_run_resumed_after_a_kill_loses_no_later_record(tmp_path: Path, cut: int | None) -> None:
    path = tmp_path / "records.jsonl"
    first = to_line(RunRecord("a")) + "\n"
    path.write_text(first + to_line(EpochRecord("a", 1))[:cut], encoding="utf-8")
    file = RecordFile(path)
    file.append(EpochRecord("a", 2))
    file.append(EpochRecord("a", 3))
    kept = [RunRecord("a"), EpochRecord("a", 2), EpochRecord("a", 3)]
    if cut is None:
        kept.insert(1, EpochRecord("a", 1))
    assert read_records(path) == kept


NO_NUMBER = to_line(AUDIT).encode().replace(b"1.25", b'"x"')
HUGE = to_line(AUDIT).encode().replace(b"2.5", b"1" + b"0" * 400)
BROKEN = [b"{broken", b'{"schema": 2, "kind": "run"}', b"\xff\xfe\x00", NO_NUMBER, HUGE]


def lines(*parts: Record | bytes) -> bytes:
    return b"".join((part if isinstance(part, bytes) else to_line(part).encode()) + b"\n" for part in parts)


@pytest.mark.parametrize("broken", BROKEN, ids=["json", "field", "bytes", "type", "huge"])
def test_a_damaged_line_costs_nothing_but_itself_and_is_named_once(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(lines(RunRecord("a"), broken, *[AUDIT] * 520, RunRecord("b")))
    with pytest.warns(UserWarning) as warned:
        assert read_records(path) == [RunRecord("a"), *[AUDIT] * 520, RunRecord("b")]
    assert len(warned) == 1 and f"{path}: line 2 is damaged and left out" in str(warned[0].message)
    path.write_bytes(lines(RunRecord("a"), *[broken] * 9))  # the last one is whole, so not cut off by a kill
    with pytest.warns(UserWarning, match="lines 2, 3, 4, 5, 6, ... are damaged") as warned:
        assert read_records(path) == [RunRecord("a")]
        RecordFile(path).append(RunRecord("c"))  # a run that goes on
        assert read_records(path) == [RunRecord("a"), RunRecord("c")]
    assert len(warned) == 2


@pytest.mark.filterwarnings("error")
def test_blank_lines_and_a_byte_order_mark_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(RunRecord("a"), b"", b"  \r", AUDIT))
    assert read_records(path) == [RunRecord("a"), AUDIT]
    path.write_bytes(b"\xef\xbb\xbf" + to_line(AUDIT).encode())  # as a kill leaves it
    RecordFile(path)
    assert read_records(path) == [AUDIT]
    path.write_bytes(b"\n\n")
    assert read_records(path) == []


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    RecordFile(tmp_path / "good.jsonl").append(RunRecord("a"))
    (tmp_path / "folder.jsonl").mkdir()
    assert read_records(tmp_path) == [RunRecord("a")]
    (tmp_path / "broken.jsonl").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "circle.jsonl").symlink_to("circle.jsonl")
    with pytest.raises(InvalidInput, match=r"broken.jsonl: no file that can be read"):
        read_records(tmp_path)
    read = read_sources(tmp_path)
    assert [source.name for source in read.files] == ["good.jsonl"]
    assert [name for name, _ in read.left_out] == ["broken.jsonl", "circle.jsonl", "pipe.jsonl"]
    for paths in (None, 3, [None], tmp_path / "pipe.jsonl"):
        with pytest.raises(InvalidInput, match=r"no path|no file that can be read"):
            read_records(paths)  # type: ignore[arg-type]


def test_a_refused_record_is_named_with_its_line(tmp_path: Path) -> None:
    told = json.dumps(json.loads(to_line(AUDIT)) | {"certificate": "sure"}).encode()
    (tmp_path / "a.jsonl").write_bytes(lines(RunRecord("a"), told))
    (tmp_path / "b.jsonl").write_bytes(lines(RunRecord("b")))
    ((name, reason),) = read_sources(tmp_path).left_out
    assert name == "a.jsonl" and reason.startswith("line 2: audit record of run 'run 1' with certificate='sure'")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"loss": 1.0}\n{"loss": 0.5}\n')
    with pytest.raises(InvalidInput, match="holds no records of lipreg"):
        read_records(path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lower": 3.0}, "0 <= lower <= upper"),
        ({"certificate": "exact"}, "ends that meet"),
    ],
    ids=["crossing", "not exact"],
)
def test_whoever_says_the_impossible_is_never_passed_over(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    """A damaged line says nothing; an interval that is none is not left out."""
    path = tmp_path / "records.jsonl"
    told = json.dumps(json.loads(to_line(AUDIT)) | changed).encode()
    path.write_bytes(lines(RunRecord("a"), told, RunRecord("b")))
    with pytest.raises(InvalidInput, match=f"line 2.*{words}"):
        read_records(path)
    path.write_bytes(told)  # as a kill leaves it, without a line break
    RecordFile(path)
    with pytest.raises(InvalidInput, match=words):
        read_records(path)


def test_lines_of_a_newer_version_are_left_out_named_and_kept_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    newer = json.dumps(json.loads(to_line(AUDIT)) | {"schema": SCHEMA + 1, "colour": "red"}).encode()
    path.write_bytes(lines(RunRecord("a"), newer, AUDIT, b"{broken") + newer)
    said = f"line 4 is damaged .*; lines 2, 5 are of a newer lipreg and left out .*schema {SCHEMA + 1}"
    with pytest.warns(UserWarning, match=said):
        assert read_records(path) == [RunRecord("a"), AUDIT]
    RecordFile(path).append(RunRecord("b"))
    (source,) = read_sources(path).files
    assert source.records == (RunRecord("a"), AUDIT, RunRecord("b")) and "of a newer lipreg" in source.damage
    assert path.read_bytes().count(newer) == 2, "nothing of another version is cut off"
    path.write_bytes(lines(newer))
    with pytest.raises(InvalidInput, match="written by a newer lipreg"):
        read_records(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing"):
        read_records(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="no records"):
        read_records(tmp_path)
    with pytest.raises(InvalidInput):
        read_records([])


def test_a_folder_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "records.jsonl", tmp_path):
        with pytest.raises(InvalidInput, match="cannot write"):
            RecordFile(path)


def test_field_names_are_the_columns() -> None:
    assert field_names(AuditRecord) == [f.name for f in fields(AuditRecord)]
    assert "kind" not in field_names(RunRecord)


@pytest.mark.parametrize("schema", READABLE)
def test_until_schema_8_the_combined_interval_is_named_exact(schema: int) -> None:
    for name in ("exact", "mip"):
        data = json.loads(to_line(replace(AUDIT, estimator=name))) | {"schema": schema}
        read = from_line(json.dumps(data))
        assert isinstance(read, AuditRecord)
        assert read.estimator == ("combined" if name == "exact" and schema <= 8 else name)
        assert replace(read, estimator=name) == replace(AUDIT, estimator=name), "nothing else is another"
        assert json.loads(to_line(read))["schema"] == SCHEMA and from_line(to_line(read)) == read


def test_metrics_of_earlier_versions_have_their_names_of_now() -> None:
    names = {"audit/exact_lower": "audit/combined_lower", "robust/exact_upper": "robust/combined_upper"}
    names |= {name: name for name in ("audit/share_exact", "audit/lp", "exact_upper", "audit/combined_upper", "exact")}
    assert {name: current_metric(name) for name in names} == names


def test_records_of_the_schema_before_are_read_without_run_ids_and_recipes() -> None:
    data = json.loads(to_line(AUDIT))
    old = {key: value for key, value in data.items() if key not in ("run_id", "recipe")} | {"schema": 1}
    assert from_line(json.dumps(old)) == replace(AUDIT, run_id="", recipe={})


@pytest.mark.parametrize(
    "wrong",
    [
        {"point": "0"},
        {"point": 0.0},
        {"witness": "ab"},
        {"witness": ["a", "b"]},
        {"versions": None},
        {"asked": None},
        {"seconds": "3"},
        {"seconds": None},
        {"families": {"a": 1.0}},
        {"correct": 1},
    ],
    ids=str,
)
def test_fields_of_another_type_are_refused_by_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    record = replace(AUDIT, **wrong)
    data = {"schema": SCHEMA, "kind": "audit", **asdict(record)}
    with pytest.raises(InvalidInput, match=name):
        from_line(json.dumps(data))
    with pytest.raises(InvalidInput, match=name):
        to_line(record)


def test_a_line_that_nests_without_end_is_no_record() -> None:
    with pytest.raises(InvalidInput):
        from_line("[" * 100_000)


CALIBRATION = CalibrationRecord(
    "a", 3, "f", task="classes", points=2, reference="r", factor=1.5, error=0.1, accuracy=0.5, influences=[0.1, -0.1]
)


@pytest.mark.parametrize(
    "changed",
    [
        {"factor": 0.0},
        {"factor": -1.0},
        {"factor": 1e308},
        {"accuracy": 1.5},
        {"error": 1e5},
        {"error": -0.1},
        {"loss_error": -1.0},
        {"task": "xyz"},
        {"points": 0},
        {"reference": ""},
        {"why": "no reason"},
        {"influences": [0.1]},
    ],
)
def test_a_calibration_that_nothing_has_made_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    assert from_line(to_line(CALIBRATION)) == CALIBRATION
    data = json.loads(to_line(CALIBRATION)) | changed
    with pytest.raises(InvalidInput, match=r"line 1.*remove its line"):
        path = tmp_path / "records.jsonl"
        path.write_text(json.dumps(data) + "\n")
        read_records(path)
    with pytest.raises(InvalidInput, match=r"calibration of run 'a', epoch 3|0 or more"):
        to_line(CalibrationRecord(**{**vars(CALIBRATION), **changed}))


@pytest.mark.parametrize("content", ["import torch\n", '{"a": 1}\nan important last line without an end', "x"])
def test_files_of_something_else_are_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "nets.py"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput, match="holds no records of lipreg, and nothing is written to it"):
        RecordFile(path)
    assert path.read_text(encoding="utf-8") == content


def test_folders_behind_links_are_looked_into_once(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.jsonl").write_bytes(lines(RunRecord("a")))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "here").symlink_to(tmp_path / "runs", target_is_directory=True)
    (tmp_path / "runs" / "round").symlink_to(tmp_path / "links", target_is_directory=True)
    assert [source.name for source in read_sources(tmp_path / "links").files] == ["here/a.jsonl"]
    assert len(read_sources(tmp_path).files) == 1
