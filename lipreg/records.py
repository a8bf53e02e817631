"""What is saved: plain records, one JSON object a line, appended as they come. Reports and loggers are views of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from lipreg.errors import InvalidInput
from lipreg.plain import misfits
from lipreg.results import EXACT_TOLERANCE, Certificate, meet

SCHEMA = 2
READABLE = (1, 2)
"""Schemas that can be read. Records of schema 1 have no run ids and no recipes: those fields are empty."""


@dataclass(frozen=True)
class RunRecord:
    """One training run, or a network that is audited without one.

    Attributes:
        run: its name; a label, which another run may have too.
        twin: name of the run it is compared with, meant to be the same training with weight 0; None for a twin.
        bound: the estimator that the penalty lowers; None without a penalty.
        weight: the penalty's weight.
        question: ``LocalLipschitz.describe()`` of penalty and audit.
        sentence: the question in words.
        settings: everything else worth keeping, plain data (the composed configuration).
        id: of the fit that wrote it; a resumed fit has the id of the one it goes on from, any other has its own.
        recipe: ``Bound.describe()`` of what the penalty lowers; empty without a penalty.
        twin_id: ``id`` of the twin, where it was known when the run began.
        start_epoch: completed epochs when this part began: 0, or its checkpoint's; what was recorded of later ones is void.
        started: when this part began, UTC, ISO 8601.
        process: the process that wrote it, as "pid 123 on host".
        versions: of the software that trained.
        metric: name of the logged metric that reports show beside the constants; empty takes what fits.
        of_training: False for a network of which nothing is known but its weights; the epoch of its records says nothing.
    """

    kind: ClassVar[str] = "run"
    run: str
    twin: str | None = None
    seed: int | None = None
    bound: str | None = None
    weight: float = 0.0
    question: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    twin_id: str = ""
    start_epoch: int = 0
    started: str = ""
    process: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    metric: str = ""
    of_training: bool = True


@dataclass(frozen=True)
class EpochRecord:
    """What training itself reported after ``epoch`` completed epochs, such as the validation accuracy.

    Attributes:
        run_id: ``RunRecord.id`` of its run.
        step: training steps taken by then, as Lightning's loggers count; their row of that moment has epoch - 1, step - 1.
    """

    kind: ClassVar[str] = "epoch"
    run: str
    epoch: int
    metrics: dict[str, float] = field(default_factory=dict)
    run_id: str = ""
    step: int | None = None


@dataclass(frozen=True)
class AuditRecord:
    """One estimator's result at one reference point.

    Attributes:
        run: name of the training run.
        epoch: completed training epochs when the audit ran; 0 is the untrained network (if the run is ``of_training``).
        point: index of the reference point in the audit's fixed list.
        label: its class, -1 without labels.
        estimator: ``Bound.label`` of the recipe (the method's registered name, unless the recipe differs from its
            defaults), or "exact": what all methods together prove at the point.
        certificate, status: values of ``Certificate`` and ``Status``.
        lower, upper: the interval; upper is inf when nothing was proved.
        functional: the functional at this point, in words.
        question: ``LocalLipschitz.describe()``.
        fingerprint: hash of the audited weights and structure.
        correct, margin: whether the network classifies the point rightly, and its smallest logit margin, rounded down.
        penalised: whether this estimator is the bound that the penalty of the run lowers.
        proof, detail: what proves the upper end, how it came about.
        witness: the point that attains the lower end, flattened.
        versions: of the software that proved it.
        subject: hash of the network and the reference point.
        engine: what did the arithmetic, with its version; empty for "exact", which joins several.
        tolerances: inside the proof, by name; for "exact" the relative gap at which the two ends count as one.
        asked: the budget in seconds, the estimators, and this one's seed and pre-activation methods.
        families: proved upper bounds of the families of functionals one by one, where a search has them.
        resumed: whether this estimator started from what an earlier audit had saved.
        run_id: ``RunRecord.id`` of its run.
        recipe: ``Bound.describe()`` of what was evaluated, with proved norms; empty for "exact".
        step: training steps taken by the audited weights, as in ``EpochRecord``.
        weights: "training", those that the optimizer steps; "averaged", by a callback, or "replaced", those left at the end.
        reference: hash of the reference point itself; empty in records that do not tell it.
    """

    kind: ClassVar[str] = "audit"
    run: str
    epoch: int
    point: int
    label: int
    estimator: str
    certificate: str
    status: str
    lower: float
    upper: float
    seconds: float
    functional: str
    question: dict[str, Any]
    fingerprint: str
    correct: bool | None = None
    margin: float | None = None
    penalised: bool = False
    proof: str = ""
    detail: str = ""
    estimate: float | None = None
    witness: list[float] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    subject: str = ""
    engine: str = ""
    tolerances: dict[str, float] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    families: list[float] = field(default_factory=list)
    resumed: bool = False
    run_id: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    step: int | None = None
    weights: str = "training"
    reference: str = ""


Record = RunRecord | EpochRecord | AuditRecord
_KINDS: dict[str, type[Record]] = {kind.kind: kind for kind in (RunRecord, EpochRecord, AuditRecord)}


def to_line(record: Record) -> str:
    """A record as one line of strict JSON. An infinite upper end is written as the text "inf".

    Raises:
        InvalidInput: a field holds NaN, another infinity, or something that is not plain data; or the lower end of an
            interval lies above its upper end.
    """
    _check(record, "records")
    data = {"schema": SCHEMA, "kind": record.kind, **asdict(record)}
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


def from_line(line: str, where: str = "record") -> Record:
    """Reads what ``to_line`` wrote.

    Raises:
        InvalidInput: not strict JSON, of a newer schema, with missing or unknown fields, or an interval whose ends cross.
    """
    try:
        data: dict[str, Any] = json.loads(line, parse_constant=_no_number)
        schema, kind = data.pop("schema"), _KINDS[data.pop("kind")]
        if schema not in READABLE:
            raise InvalidInput(f"schema {schema}", where=where, accepted=f"schema {' or '.join(map(str, READABLE))}")
        if kind is AuditRecord and data["upper"] == "inf":
            data["upper"] = math.inf
        record = kind(**data)
        _check(record, where)
        return record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        todo = "Read it with the lipreg version that wrote it; if the line is damaged, remove it"
        raise InvalidInput(f"not a record: {error}", where=where, todo=todo) from None


def _check(record: Record, where: str) -> None:
    """Raises InvalidInput for fields of other types, and for ends in which no proof ends: a record that was damaged."""
    if wrong := misfits(record):
        raise InvalidInput(f"{type(record).__name__} with {', '.join(wrong)}", where=where)
    if not isinstance(record, AuditRecord):
        return
    lower, upper, accepted = record.lower, record.upper, ""
    if not all(type(end) in (int, float) for end in (lower, upper)):
        accepted = "numbers"
    elif not 0 <= lower <= upper:
        accepted = "an interval of Lipschitz constants: 0 <= lower <= upper"
    elif record.certificate == Certificate.EXACT.value and not meet(lower, upper):
        accepted = f"ends that meet to {EXACT_TOLERANCE:g}, where the certificate says exact"
    if accepted:
        got = f"lower end {lower!r} and upper end {upper!r} of {record.estimator!r}, run {record.run!r}"
        got += f", epoch {record.epoch}, point {record.point}"
        todo = "The record was changed or damaged: remove its line, and audit again"
        raise InvalidInput(got, where=where, accepted=accepted, todo=todo)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


class RecordFile:
    """An append-only file of records. Each line is on disk when ``append`` returns, so a kill loses nothing written.

    Args:
        path: a file; its folder is made.

    Raises:
        InvalidInput: the folder cannot be written, found before any work starts.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._mend()
        except OSError as error:
            raise InvalidInput(
                f"cannot write {self.path}: {error.strerror or error}",
                where="records",
                todo="Choose a folder that can be written",
            ) from None

    def _mend(self) -> None:
        """Makes the file if there is none, and closes a last line that a kill left open: kept if whole, cut if not."""
        with self.path.open("a+b") as file:
            file.seek(0)
            text = file.read()
            begin = text.rfind(b"\n") + 1
            if begin == len(text):
                return
            try:
                from_line(text[begin:].decode(errors="replace"))
                file.write(b"\n")
            except InvalidInput:
                file.truncate(begin)

    def append(self, *records: Record) -> None:
        if not records:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(to_line(record) + "\n" for record in records))
            file.flush()
            os.fsync(file.fileno())


def read_records(paths: str | Path | Iterable[str | Path]) -> list[Record]:
    """Reads record files, or every ``*.jsonl`` below a folder. A last line cut off by a kill is left out.

    Raises:
        InvalidInput: no file is found, or a line other than a cut-off last one is not a record.
    """
    roots = [paths] if isinstance(paths, str | Path) else list(paths)
    files = [file for root in map(Path, roots) for file in (sorted(root.rglob("*.jsonl")) if root.is_dir() else [root])]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise InvalidInput(
            f"no records at {', '.join(missing or map(str, roots))}",
            where="records",
            accepted="a run folder or a .jsonl file",
        )
    return [record for file in files for record in _read(file)]


def _read(file: Path) -> Iterator[Record]:
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            yield from_line(line, f"{file}, line {number}")
        except InvalidInput:
            if number == len(lines) and not text.endswith("\n"):
                return
            raise


def field_names(kind: type[Record]) -> list[str]:
    """The columns of a table of records."""
    return [f.name for f in fields(kind)]
