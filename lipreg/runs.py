"""Which run a record belongs to: ids tell runs apart, names are labels. Records of schema 1 have names alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord


@dataclass(frozen=True)
class RecordedRun:
    """A run as its records tell it, wherever they lie.

    Attributes:
        record: the run's own record, the last one; made from its audits where there is none.
        audits, epochs: its other records, in the order they were written. Those of epochs that a resume has done again, or
            left behind, are not among them.
        parts: its record as it was each time that it was begun or resumed, without those that were left behind.
    """

    record: RunRecord
    audits: tuple[AuditRecord, ...] = ()
    epochs: tuple[EpochRecord, ...] = ()
    parts: tuple[RunRecord, ...] = ()

    @property
    def label(self) -> str:
        """The name that it was given."""
        return self.record.run

    @property
    def key(self) -> str:
        """What tells it from other runs: its id, or its name where it has none."""
        return run_key(self.record)

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
            phases += [part] if penalty_of(part) != penalty_of(phases[-1]) else []
        if len(phases) < 2:
            return ""
        alike = len({json.dumps([p.bound, p.recipe]) for p in phases}) == 1
        if alike and all(a.weight != b.weight for a, b in pairwise(phases)):
            words = [f"{part.weight:g}" for part in phases]
            first = f"weight {words[0]}"
        else:
            words = [f"another penalty ({part.bound or 'no bound'}, weight {part.weight:g})" for part in phases]
            first = f"{phases[0].bound or 'no bound'}, weight {phases[0].weight:g}"
        later = [f"from epoch {part.start_epoch} on {word}" for part, word in zip(phases[1:], words[1:], strict=True)]
        return ", ".join([first, *later])

    def said(self) -> str:
        """Label, id, when, seed and epochs, for a list of candidates."""
        record, last = self.record, self.last_epoch
        parts = [f"id {record.id}" if record.id else "no id", record.started and f"started {record.started}"]
        if record.of_training:
            parts += [
                f"seed {record.seed}" if record.seed is not None else "no seed",
                f"{last} epoch{'s' * (last != 1)}",
            ]
        return f"{self.label!r} ({', '.join(part for part in parts if part)})"


def record_id(record: Record) -> str:
    """The id of the run that wrote a record; empty in records of schema 1."""
    return record.id if isinstance(record, RunRecord) else record.run_id


def run_key(record: Record) -> str:
    """The id of the run that wrote a record, or the run's name where it has none."""
    return record_id(record) or record.run


def recorded_runs(records: Iterable[Record]) -> list[RecordedRun]:
    """The runs that records are about, in the order in which they first appear."""
    by_run: dict[tuple[str, bool], list[Record]] = {}
    for record in records:
        by_run.setdefault((run_key(record), bool(record_id(record))), []).append(record)
    return [_run(own) for own in by_run.values()]


def choose_run(runs: Sequence[RecordedRun], name: str, where: str) -> RecordedRun | None:
    """The run with that id or label; None if there is none.

    Raises:
        InvalidInput: several runs have that label.
    """
    found = [run for run in runs if run.record.id == name] if name else []
    found = found or [run for run in runs if run.label == name]
    if len(found) > 1:
        raise ambiguous(name, found, where)
    return next(iter(found), None)


def ambiguous(name: str, found: Sequence[RecordedRun], where: str) -> InvalidInput:
    """The refusal of a name that several runs have."""
    return InvalidInput(
        f"{len(found)} runs are called {name!r}",
        where=where,
        accepted="one of " + "; ".join(run.said() for run in found),
        todo="Pass the id of the one that is meant",
    )


def as_json(content: Any) -> str:
    """Plain data as text, equal for equal content: a record read back from a file has lists where a fresh one has tuples."""
    return json.dumps(content, sort_keys=True)


def certified_description(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe, as records describe it, with proved norms: what an audit evaluates, whatever training measured with."""
    return {**recipe, "spectral_norms": "exact"} if recipe else {}


def same_recipe(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two recipes of records make comparable bounds. Records of schema 1 do not say, and are taken at their name."""
    return not one or not other or as_json(one) == as_json(other)


def penalty_of(record: RunRecord) -> str:
    """What was lowered and how, as text that is equal for equal penalties."""
    described = [value for value in record.settings.values() if isinstance(value, list)]  # as callbacks write them
    return json.dumps([record.bound, record.recipe, record.weight, record.settings.get("regularizer", described)])


def _run(records: Sequence[Record]) -> RecordedRun:
    """One run of its records, a part for each time that it was begun or resumed."""
    parts: list[list[Record]] = [[]]
    for record in records:
        if isinstance(record, RunRecord) and any(isinstance(r, RunRecord) for r in parts[-1]):
            parts.append([])
        parts[-1].append(record)
    told = [[r for r in part if isinstance(r, RunRecord)] for part in parts]
    # of several files, which may come in any order
    order = sorted(range(len(parts)), key=lambda i: told[i][0].started if told[i] else "")
    kept: list[Record] = []
    begun: list[RunRecord] = []
    for i in order:
        own = told[i][0] if told[i] else None
        if own is not None and own.id:
            kept = [r for r in kept if isinstance(r, RunRecord) or r.epoch <= own.start_epoch]
            begun = [part for part in begun if part.start_epoch < own.start_epoch]
        begun += told[i][:1]
        kept += parts[i]
    audits = tuple(r for r in kept if isinstance(r, AuditRecord))
    records_of_run = [r for r in kept if isinstance(r, RunRecord)]
    made = RunRecord(kept[0].run, question=audits[0].question if audits else {}, id=record_id(kept[0]))
    own = records_of_run[-1] if records_of_run else made
    return RecordedRun(own, audits, tuple(r for r in kept if isinstance(r, EpochRecord)), tuple(begun))
