"""Which run a record belongs to: ids distinguish runs, names are labels. Records of schema 1 have names alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

from lipreg.errors import InvalidInput
from lipreg.plain import alike
from lipreg.records import (
    COMBINED,
    AuditRecord,
    CalibrationRecord,
    DerivativeRecord,
    EpochRecord,
    NewerRun,
    PointRecord,
    PopulationRecord,
    Record,
    RunRecord,
    Source,
    each_once,
)
from lipreg.results import Certificate
from lipreg.words import written


@dataclass(frozen=True)
class RecordedRun:
    """A run as its records tell it, wherever they lie.

    Attributes:
        record: the run's own record, the last one; made from its audits where there is none. A ``NewerRun`` where a newer
            lipreg has trained it: what it was penalised on then is not known.
        audits, epochs, calibrations, derivatives: its other records, in the order they were written. Those of epochs that a
            resume has done again, or left behind, are not among them.
        parts: its record as it was each time that it was begun or resumed, without those that were left behind.
        source: name of the first file that has records of it; empty where no files were distinguished.
        checked: the certificates that its audits name and ``lipreg check`` has confirmed wherever they lie, and how.
        points: its reference points, where they were kept.
    """

    record: RunRecord
    audits: tuple[AuditRecord, ...] = ()
    epochs: tuple[EpochRecord, ...] = ()
    calibrations: tuple[CalibrationRecord, ...] = ()
    parts: tuple[RunRecord, ...] = ()
    source: str = ""
    derivatives: tuple[DerivativeRecord, ...] = ()
    checked: Mapping[str, str] = field(default_factory=dict)
    points: tuple[PointRecord, ...] = ()

    @property
    def label(self) -> str:
        """Its name."""
        return self.record.run

    @property
    def key(self) -> str:
        """What distinguishes it from other runs: its id, or its name where it has none."""
        return run_key(self.record)

    @property
    def question(self) -> dict[str, Any]:
        """What it was audited under; empty where no record says it."""
        return self.record.question or (self.audits[0].question if self.audits else {})

    @property
    def bound(self) -> str:
        """The bound that its penalty lowers, or that it is compared with; without a penalty the closest there is to it."""
        if self.record.bound is not None:
            return self.record.bound
        marked = [r.estimator for r in self.audits if r.penalised]
        upper = [r.estimator for r in self.audits if r.certificate == Certificate.UPPER and r.estimator != "lp"]
        return next(iter((*marked, *upper)), COMBINED)

    @property
    def start(self) -> str | None:
        """Hash of the untrained network, if that was audited and is known to be untrained."""
        untrained = self.audits if self.record.of_training else ()
        return next((r.fingerprint for r in untrained if r.epoch == 0), None)

    @property
    def last_epoch(self) -> int:
        """Completed epochs, as far as anything was recorded of them."""
        return max((r.epoch for r in (*self.audits, *self.epochs)), default=self.record.start_epoch)

    @property
    def penalised(self) -> bool:
        """Whether it was ever trained with a penalty."""
        return any(part.weight != 0 for part in (*self.parts, self.record))

    @property
    def course(self) -> str:
        """How a resume changed the penalty, such as "weight 0.01, from epoch 2 on 0.5"; empty if none did."""
        phases = list(self.parts[:1])
        for part in self.parts[1:]:
            if _weight_pending(phases[-1]) and alike(*(_without(p, "weight") for p in (part, phases[-1]))):
                phases[-1] = replace(part, start_epoch=phases[-1].start_epoch)
            elif not same_penalty(part, phases[-1]):
                phases.append(part)
        if len(phases) < 2:
            return ""
        weights = ["auto" if _weight_pending(part) else written(part.weight) for part in phases]
        only_weights = all(alike(*(_without(p, "weight", "auto") for p in both)) for both in pairwise(phases))
        if only_weights and all(a != b for a, b in pairwise(weights)):
            first, words = f"weight {weights[0]}", weights
        else:
            phrases = [f"{_lowered(part)}, weight {weight}" for part, weight in zip(phases, weights, strict=True)]
            first, words = phrases[0], [f"another penalty ({one})" for one in phrases]
        later = [f"from epoch {part.start_epoch} on {word}" for part, word in zip(phases[1:], words[1:], strict=True)]
        return ", ".join([first, *later])

    def summary(self) -> str:
        """Label, id, when, seed and epochs, for a list of candidates."""
        record, last = self.record, self.last_epoch
        parts = [f"id {record.id}" if record.id else "no id", record.started and f"started {record.started}"]
        if record.of_training:
            parts += [
                f"seed {record.seed}" if record.seed is not None else "no seed",
                f"{last} epoch{'s' * (last != 1)}",
            ]
        return f"{self.label!r} ({', '.join(part for part in parts if part)})"


def run_key(record: Record) -> str:
    """The id of the run that wrote a record, or the run's name where it has none."""
    return record.run_id or record.run


def recorded_runs(records: Iterable[Record], source: str = "") -> list[RecordedRun]:
    """The runs that records of one file are about, in the order in which they first appear."""
    return runs_of([Source(source, tuple(records))])


def runs_of(sources: Iterable[Source]) -> list[RecordedRun]:
    """The runs of some files: one with an id is one wherever its records lie, names count in their own file only."""
    by_key: dict[_Key, list[Record]] = {}
    first: dict[_Key, str] = {}
    verdicts: dict[_Key, dict[str, set[str]]] = {}
    for source in sources:
        for record in source.records:
            key = _Key(id=record.run_id) if record.run_id else _Key(name=record.run, source=source.name)
            by_key.setdefault(key, []).append(record)
            first.setdefault(key, source.name)
            if isinstance(record, AuditRecord) and (file := record.certificate_file):
                verdicts.setdefault(key, {}).setdefault(file, set()).add(source.checked.get(file, ""))
    return [_run(records, first[key], verdicts.get(key, {})) for key, records in by_key.items()]


def choose_run(runs: Sequence[RecordedRun], name: str, where: str) -> RecordedRun | None:
    """The run with that id or label; None if there is none.

    Args:
        runs: those to choose from.
        name: an id or a label; an id comes first.
        where: named in errors.

    Raises:
        InvalidInput: several runs have that label.
    """
    matching = [run for run in runs if run.record.id == name] if name else []
    matching = matching or [run for run in runs if run.label == name]
    if len(matching) > 1:
        raise ambiguous(name, matching, where)
    return next(iter(matching), None)


def ambiguous(name: str, runs: Sequence[RecordedRun], where: str) -> InvalidInput:
    """The error about a name that several runs have.

    Args:
        name: the name.
        runs: those that have it; the message lists them.
        where: named in the message.
    """
    return InvalidInput(
        f"{len(runs)} runs are called {name!r}",
        where=where,
        accepted="one of " + "; ".join(run.summary() for run in runs),
        todo="Pass the id of the one that is meant",
    )


def certified_description(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe, as records describe it, with proved norms: what an audit evaluates, whatever training measured with."""
    evaluated = {
        name: value for name, value in recipe.items() if name != "memory"
    }  # which is a limit of training's alone
    return {**evaluated, "spectral_norms": "exact"} if recipe else {}


def same_recipe(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two recipes of records make comparable bounds. Records of schema 1 do not say, and are taken at their name."""
    return not one or not other or alike(one, other)


def same_penalty(one: RunRecord, other: RunRecord) -> bool:
    """Whether two records say that the same was lowered, and in the same way."""
    same = (one.bound, one.weight) == (other.bound, other.weight) and alike(one.recipe, other.recipe)
    described = not one.penalty or not other.penalty or alike(one.penalty, other.penalty)
    return same and described and alike(_penalty(one), _penalty(other))


def _penalty(record: RunRecord) -> Any:
    """Penalty and schedule, as the callbacks or a configuration wrote them among the settings."""
    described = [value for value in record.settings.values() if isinstance(value, list)]
    return record.settings.get("regularizer", described)


def _lowered(part: RunRecord) -> str:
    """What a part of a run lowered, in words."""
    return part.penalty.get("quantity") or part.bound or "no bound"


def _weight_pending(part: RunRecord) -> bool:
    """Whether its weight is "auto" and not yet set; it is recorded as 0 beside the penalty's own, which is None."""
    return part.penalty.get("weight", 0.0) is None


def _without(part: RunRecord, *left_out: str) -> dict[str, Any]:
    """What it lowered, and how, without some of the penalty's entries."""
    penalty = {name: value for name, value in part.penalty.items() if name not in left_out}
    return {"bound": part.bound, "recipe": part.recipe, "penalty": penalty}


class _Key(NamedTuple):
    """What distinguishes runs: their ids, or name and file."""

    id: str = ""
    name: str = ""
    source: str = ""


_Result = PointRecord | AuditRecord | EpochRecord | CalibrationRecord | DerivativeRecord | PopulationRecord


@dataclass
class _Part:
    """What was recorded from one start of a run to the next."""

    record: RunRecord | None = None
    results: list[_Result] = field(default_factory=list)


def _run(records: Sequence[Record], source: str, verdicts: Mapping[str, set[str]]) -> RecordedRun:
    """One run of its records, a part for each time that it was begun or resumed."""
    parts, newer = [_Part()], False
    for record in each_once(records):
        if isinstance(record, NewerRun):  # when that part began is not known: what follows is of the part before
            newer = True
        elif not isinstance(record, RunRecord):
            parts[-1].results.append(record)
        elif parts[-1].record is None:
            parts[-1].record = record
        else:
            parts.append(_Part(record))
    last, begun, results = (
        RunRecord(records[0].run, id=records[0].run_id),
        list[RunRecord](),
        list[_Result](),
    )
    for part in sorted(parts, key=lambda part: part.record.started if part.record else ""):  # files come in any order
        if part.record is not None:
            last, start = part.record, part.record.start_epoch
            if last.id:
                results = [r for r in results if isinstance(r, PointRecord) or r.epoch <= start]
                begun = [earlier for earlier in begun if earlier.start_epoch < start]
            begun.append(last)
        results += part.results
    if newer:
        last = NewerRun(**{**vars(last), "penalty": {}})
    audits = tuple(r for r in results if isinstance(r, AuditRecord))
    epochs = tuple(r for r in results if isinstance(r, EpochRecord))
    calibrations = tuple(r for r in results if isinstance(r, CalibrationRecord))
    derivatives = tuple(r for r in results if isinstance(r, DerivativeRecord))
    checked = {file: "; ".join(sorted(words)) for file, words in verdicts.items() if "" not in words}
    points = tuple({r.point: r for r in results if isinstance(r, PointRecord)}.values())
    return RecordedRun(last, audits, epochs, calibrations, tuple(begun), source, derivatives, checked, points)
