"""A record as one line of strict JSON, and back: the one place that knows what earlier versions have written."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields
from typing import Any

from lipreg.errors import InvalidInput, LipregError
from lipreg.plain import misfits
from lipreg.records.former import current_estimator
from lipreg.records.inputs import PointRecord
from lipreg.records.kinds import (
    WEIGHTS,
    AuditRecord,
    CalibrationRecord,
    DerivativeRecord,
    PopulationRecord,
    Record,
)
from lipreg.records.training import EpochRecord, NewerRun, RunRecord
from lipreg.results import EXACT_TOLERANCE, Certificate, Status, meet

SCHEMA = 9
"""The schema of the records that are written."""
READABLE = (1, 2, 3, 4, 5, 6, 7, 8, 9)
"""Schemas that can be read. What a record of an earlier one lacks is empty: run ids and recipes in schema 1, the
calibration of outputs and attacks in 1 and 2, derivatives before 4, draws from a data set before 5, certificates
before 6, points outside of their region, reference points and the classes there, command and commit before 7. Before 8 no
work has the status "memory limit": it is "time limit" or "bounded" there. Before 9 the estimator "combined" is named
"exact"; ``former.py`` has the mapping."""

_COUNTS = ("epoch", "point", "seconds", "step", "start_epoch", "points", "error", "factor", "loss", "accuracy")
_CHOICES = {"certificate": tuple(Certificate), "status": tuple(Status), "weights": WEIGHTS}
"""The fields that are never negative, and those that have one of a few values."""

_DIGITS = 300
"""The most digits of a whole number that is read: with more it may be beyond float64."""

_KINDS: dict[str, type[Record]] = {
    kind.kind: kind
    for kind in (
        RunRecord,
        EpochRecord,
        PointRecord,
        AuditRecord,
        CalibrationRecord,
        DerivativeRecord,
        PopulationRecord,
    )
}


class DamagedLine(InvalidInput):
    """The error for a line that no version of lipreg has written; the lines around it can be read without it."""


class NewerLine(InvalidInput):
    """The error for a record of a schema that this version does not have. It is no damage, and never cut off.

    Attributes:
        run: the run that it is the record of; None where it is of another kind, or without a name.
    """

    run: NewerRun | None = None


def to_line(record: Record) -> str:
    """A record as one line of strict JSON. An infinite upper end is written as the text "inf".

    Raises:
        InvalidInput: a field holds NaN, another infinity, or something that is not plain data; the lower end of an
            interval lies above its upper end; it would be refused when read; or it stands for a line of a newer lipreg.
    """
    if isinstance(record, NewerRun):
        raise InvalidInput(f"the record of run {record.run!r} was written by a newer lipreg", where="records")
    _check_fields(record, "records")
    _check_values(record, "records")
    # no copies: of a witness that has as many numbers as an image asdict copies each by itself
    data = {"schema": SCHEMA, "kind": record.kind, **{each.name: getattr(record, each.name) for each in fields(record)}}
    if isinstance(record, AuditRecord) and record.upper == math.inf:
        data["upper"] = "inf"
    try:
        return json.dumps(data, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"{type(record).__name__} of run {record.run!r}: {error}",
            where="records",
            accepted="plain data: numbers that are finite, text, lists and dicts of these",
        ) from None


def from_line(line: str | bytes, where: str = "record") -> Record:
    """The record of a line that ``to_line`` wrote, today or in an earlier version. A byte order mark before it is no damage.

    Args:
        line: the line, with or without its end.
        where: its place, for errors.

    Raises:
        DamagedLine: not strict JSON in UTF-8, or with missing or unknown fields, or fields of other types.
        NewerLine: written by a newer lipreg.
        InvalidInput: it has values that nothing can have written: ends that cross, a negative epoch, an unknown certificate.
    """
    data = _object(line, where)
    schema, name = data.pop("schema", None), data.pop("kind", None)
    if type(schema) is int and schema > SCHEMA:
        newer = NewerLine(
            f"a record of schema {schema}, written by a newer lipreg",
            where=where,
            accepted=f"schema {' or '.join(map(str, READABLE))}",
            todo="Read it with that version",
        )
        newer.run = _newer_run(data) if name == RunRecord.kind else None
        raise newer
    if type(schema) is not int or schema not in READABLE:
        raise _damaged(_field("schema", schema), where)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _damaged(f"{_field('kind', name)} ({', '.join(_KINDS)})", where)
    required = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(kind)}
    unknown = [f"the unknown field {field[:40]!r}" for field in data if field not in required]
    lacking = [f"no field {field!r}" for field, needed in required.items() if needed and field not in data]
    if wrong := [*lacking, *unknown]:
        raise _damaged(f"{name} record with {', '.join(wrong[:5])}", where)
    if kind is AuditRecord:
        data["estimator"] = current_estimator(data["estimator"], schema)
        data["upper"] = math.inf if data["upper"] == "inf" else data["upper"]
    record = kind(**data)
    _check_fields(record, where)
    _check_values(record, where)
    return record


def _newer_run(data: dict[str, Any]) -> NewerRun | None:
    """The run of a record that cannot be read, where it has name and id as every version had them."""
    run, run_id = data.get("run"), data.get("id", "")
    return NewerRun(run, id=run_id) if isinstance(run, str) and isinstance(run_id, str) else None


def _object(line: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object of a line."""
    try:
        text = line.decode() if isinstance(line, bytes) else line
        data = json.loads(text.removeprefix("\ufeff"), parse_constant=_no_number, parse_int=_whole, parse_float=_finite)
    except UnicodeDecodeError:
        raise _damaged("no text in UTF-8", where) from None
    except json.JSONDecodeError as error:
        raise _damaged(f"cut off, or no JSON from column {error.colno} on", where) from None
    except (ValueError, RecursionError) as error:
        raise _damaged("it nests too deep" if isinstance(error, RecursionError) else str(error), where) from None
    if not isinstance(data, dict):
        raise _damaged("JSON, but not an object with fields", where)
    return data


def _field(name: str, value: Any) -> str:
    return f"no field {name!r}" if value is None else f"unknown {name} {str(value)[:40]!r}"


def _damaged(why: str, where: str) -> DamagedLine:
    return DamagedLine(f"not a record: {why}", where=where, todo="If the line is damaged, remove it")


def _check_fields(record: Record, where: str) -> None:
    """Raises DamagedLine for fields of other types, InvalidInput for values that nothing can have written."""
    if wrong := misfits(record):
        raise DamagedLine(f"{record.kind} record with {', '.join(wrong)}", where=where)
    values = [(name, getattr(record, name, None)) for name in (*_COUNTS, *_CHOICES)]
    wrong = [
        f"{name}={value!r} (0 or more)" for name, value in values if name in _COUNTS and value is not None and value < 0
    ]
    wrong += [
        f"{name}={value[:40]!r} ({', '.join(_CHOICES[name])})"
        for name, value in values
        if name in _CHOICES and value is not None and value not in _CHOICES[name]
    ]
    if wrong:
        raise InvalidInput(
            f"{record.kind} record of run {record.run!r} with {', '.join(wrong)}",
            where=where,
            accepted="values that lipreg writes",
            todo="The record was changed or damaged, or is of another version: remove its line, and audit again",
        )


def _check_values(record: Record, where: str) -> None:
    """Raises InvalidInput for values that no audit and no calibration gives: figures made of them would be false."""
    if isinstance(record, CalibrationRecord):
        _check_calibration(record, where)
    if isinstance(record, DerivativeRecord):
        try:
            _ = record.derivative_range  # which is refused if nothing can have proved it
        except LipregError as error:
            todo = "The record was changed or damaged: remove its line, and ask again"
            raise InvalidInput(error.got, where=where, accepted="a range of a derivative", todo=todo) from None
    if isinstance(record, PointRecord):
        try:
            _ = record.x
        except LipregError as error:
            todo = "The record was changed or damaged: remove its line; what was proved there stays"
            raise InvalidInput(error.got, where=where, accepted="a reference point", todo=todo) from None
    if isinstance(record, PopulationRecord):
        try:
            record.check()
        except LipregError as error:
            todo = "The record was changed or damaged: remove its line, and audit again"
            raise InvalidInput(error.got, where=where, accepted="points drawn from a data set", todo=todo) from None
    if not isinstance(record, AuditRecord):
        return
    accepted = ""
    if not 0 <= record.lower <= record.upper or record.lower == math.inf:
        accepted = "an interval of Lipschitz constants: 0 <= lower <= upper, lower finite"
    elif record.is_exact and not meet(record.lower, record.upper):
        accepted = f"ends that meet to {EXACT_TOLERANCE:g}, where the certificate says exact"
    if accepted:
        got = f"lower end {record.lower!r} and upper end {record.upper!r} of {record.estimator!r}, run {record.run!r}"
        got += f", epoch {record.epoch}, point {record.point}"
        todo = "The record was changed or damaged: remove its line, and audit again"
        raise InvalidInput(got, where=where, accepted=accepted, todo=todo)


def _check_calibration(record: CalibrationRecord, where: str) -> None:
    """Raises InvalidInput for shares above 1, a factor that is not above 0, or one without the points that it is from."""
    factor, accepted = record.factor, ""
    if record.task not in ("", "classes", "labels", "values"):
        accepted = "a task: classes, labels, values"
    elif not 0 <= (record.accuracy or 0.0) <= 1 or not 0 <= record.error <= 1 or not (record.loss_error or 0.0) >= 0:
        accepted = "an accuracy and an error between 0 and 1"
    elif factor is not None and not (1e-200 < factor < 1e200 and record.task and record.points and record.reference):
        accepted = "a factor above 0, with the task and the points that it comes from"
    elif factor is not None and record.why:
        accepted = "a factor, or why there is none"
    elif len(record.influences) not in (0, record.points):
        accepted = "as many influences as points"
    if accepted:
        raise InvalidInput(
            f"calibration of run {record.run!r}, epoch {record.epoch}: factor {factor!r}, error {record.error!r}, accuracy "
            f"{record.accuracy!r}, task {record.task!r}, {record.points} points",
            where=where,
            accepted=accepted,
            todo="The record was changed or damaged: remove its line, and audit again",
        )


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"{digits[:8]}..., of {len(digits)} digits, is no number of a record")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(digits[:40])
