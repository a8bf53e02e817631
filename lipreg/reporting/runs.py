"""Training runs found in record files, each with its twin: by name in its own file, else by seed in another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord
from lipreg.reporting.sources import Source
from lipreg.reporting.wording import between, counted, epochs
from lipreg.results import Certificate
from lipreg.runs import RecordedRun, record_id, recorded_runs
from lipreg.transfer import (
    Comparison,
    Metric,
    PointFigures,
    TwinAudits,
    compare_audits,
    truth_movement,
    why_not_compared,
)
from lipreg.transfer.points import EXACT

_TRAINED_ALIKE = ("data", "model", "trainer")  # settings that a run and its twin share
_NO_TWIN = "(none)"


@dataclass(frozen=True)
class Run:
    """A training run, as its records tell it.

    Attributes:
        source: name of the first record file that tells of it.
        recorded: the run.
    """

    source: str
    recorded: RecordedRun

    @property
    def record(self) -> RunRecord:
        """The run's own record; made from its audits where the file has none."""
        return self.recorded.record

    @property
    def audits(self) -> tuple[AuditRecord, ...]:
        return self.recorded.audits

    @property
    def epochs(self) -> tuple[EpochRecord, ...]:
        return self.recorded.epochs

    @property
    def name(self) -> str:
        return self.record.run

    @cached_property
    def question(self) -> str:
        """The question as text that is equal for equal questions."""
        asked = self.record.question or (self.audits[0].question if self.audits else {})
        return json.dumps(asked, sort_keys=True)

    @cached_property
    def identity(self) -> str:
        """Equal for runs whose audits and epochs say the same: a twin that every job of a sweep trained again."""
        said = [(r.epoch, r.point, r.estimator, r.fingerprint, r.subject) for r in self.audits]
        return json.dumps([self.question, self.record.seed, sorted(said), self.name if not said else ""])

    def penalised(self) -> str:
        """The bound that the penalty lowers; without a penalty the closest there is to it."""
        if self.record.bound is not None:
            return self.record.bound
        marked = [r.estimator for r in self.audits if r.penalised]
        upper = [r.estimator for r in self.audits if r.certificate == Certificate.UPPER.value and r.estimator != "lp"]
        return next(iter((*marked, *upper)), EXACT)


@dataclass(frozen=True)
class Side:
    """A run as one side of an entry.

    Attributes:
        run: the run.
        points: the figures at each audited epoch, by epoch and point.
        metric: the task's own metric by epoch.
    """

    run: Run
    points: Mapping[int, Mapping[int, PointFigures]]
    metric: Mapping[int, float]


@dataclass(frozen=True)
class Entry:
    """What the report shows at a time: a run beside its twin, or a run alone.

    Attributes:
        label: tells it from the other entries.
        group: equal for entries that differ in their seed alone.
        bound_name: the bound that is held against the truth, in both runs.
        mine, twin: ``twin`` is None for a run alone.
        comparisons: with the twin, by epoch; none where only the untrained networks could be compared.
        trouble: why there is no comparison, where one was to be expected.
        metric: which of the logged metrics is shown; None where nothing fits.
    """

    label: str
    group: str
    bound_name: str
    mine: Side
    twin: Side | None = None
    comparisons: Mapping[int, Comparison] = field(default_factory=dict)
    trouble: str = ""
    metric: Metric | None = None

    @property
    def last(self) -> Comparison | None:
        """The comparison at the last epoch that both were audited."""
        return self.comparisons[max(self.comparisons)] if self.comparisons else None


def find_entries(sources: Iterable[Source], metric: str | None = None) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Every run that was trained with a penalty, beside its twin; then the audited runs that are nobody's twin.

    Args:
        sources: the record files.
        metric: name of the logged metric to show; None takes that of each run's record, else what fits.

    Returns:
        The entries; and file and reason of runs that cannot be shown, because their records do not fit together.

    Raises:
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    runs = _runs(list(sources))
    joined = [(run, *_twin(run, runs)) for run in runs if run.record.twin is not None or run.recorded.penalised]
    taken = {id(run) for pair in joined for run in pair[:2]}
    alone = [(run, None, "") for run in runs if id(run) not in taken and run.audits]
    chosen = [(run, twin, why) for run, twin, why in (*joined, *alone) if run.audits]
    entries: list[Entry] = []
    left_out = [(run.source, f"run {run.name}: nothing was audited") for run, _, _ in joined if not run.audits]
    for (run, twin, why), names in zip(chosen, _labels([run for run, _, _ in chosen]), strict=True):
        try:
            entries.append(_entry(run, twin, why, names, metric))
        except (IncomparableResults, InvalidInput) as error:
            left_out.append((run.source, f"run {run.name}: {error}"))
    return entries, left_out


def _runs(sources: Sequence[Source]) -> list[Run]:
    """A run with an id is one wherever its records lie, as those of a resume do; names count in their own file only."""
    found: list[Run] = []
    with_id: dict[str, list[Record]] = {}
    for record in (record for source in sources for record in source.records if record_id(record)):
        with_id.setdefault(record_id(record), []).append(record)
    joined = {id: recorded_runs(records)[0] for id, records in with_id.items()}
    for source in sources:
        for run in recorded_runs(source.records):
            if run.record.id == "":
                found.append(Run(source.name, run))
            elif run.record.id in joined:
                found.append(Run(source.name, joined.pop(run.record.id)))
    return found


def _twin(run: Run, runs: Sequence[Run]) -> tuple[Run | None, str]:
    """The twin, or None and why there is none."""
    if run.record.twin_id:
        named = [other for other in runs if other.record.id == run.record.twin_id]
        why = f"no twin: {run.record.twin} (id {run.record.twin_id}) is in none of these files"
        return (named[0], "") if named else (None, why)
    named = [other for other in runs if other.source == run.source and other.name == run.record.twin]
    if len(named) > 1:  # trained again in the same folder
        named = [other for other in named if _could_be_twin(other, run)]
    if len({other.identity for other in named}) == 1:
        return named[0], ""
    fitting = [other for other in runs if other is not run and _could_be_twin(other, run)]
    fitting = [other for other in fitting if other.name == run.record.twin] or fitting
    if not fitting:
        return None, f"no twin: no run of weight 0 with seed {run.record.seed}, the same question, settings and start"
    if len({other.identity for other in fitting}) > 1:
        return None, f"no twin: {len(fitting)} different runs could be it ({', '.join(o.source for o in fitting[:3])})"
    return fitting[0], ""


def _could_be_twin(other: Run, run: Run) -> bool:
    """Same seed, question and training, no penalty, and the same weights wherever both were audited untrained."""
    mine, theirs = run.record, other.record
    if theirs.twin is not None or other.recorded.penalised or theirs.seed is None or theirs.seed != mine.seed:
        return False
    if other.question != run.question or not other.audits:
        return False
    if any(mine.settings.get(key) != theirs.settings.get(key) for key in _TRAINED_ALIKE):
        return False
    starts = {run.recorded.start, other.recorded.start} - {None}
    return len(starts) < 2


def _entry(run: Run, twin: Run | None, why: str, names: tuple[str, str], metric: str | None) -> Entry:
    bound = run.penalised()
    told = replace(run.record, twin=_NO_TWIN if twin is None else twin.name, bound=bound)
    other = None if twin is None else twin.recorded
    try:
        audits = TwinAudits.of(replace(run.recorded, record=told), other, metric)
        mine = _side(run, audits.runs[0], audits)
        if twin is None:
            return Entry(*names, bound, mine, trouble=why, metric=audits.metric)
        theirs = _side(twin, audits.runs[1], audits)
        shared = sorted(e for e, points in mine.points.items() if points.keys() & theirs.points.get(e, {}).keys())
        shared = [] if shared == [0] and audits.of_trainings else shared
        comparisons = {epoch: compare_audits(audits, epoch) for epoch in shared}
        trouble = "" if shared else _not_compared(audits)
        return Entry(*names, bound, mine, theirs, comparisons, trouble, audits.metric)
    except (IncomparableResults, InvalidInput) as error:
        if twin is None:
            raise
        return _entry(run, None, f"not compared with {twin.name}: {error}", names, metric)


def _not_compared(audits: TwinAudits) -> str:
    """Why a run and its twin are not compared, and what adds it; the movement of the truth where that is known."""
    why, what_adds_it = why_not_compared(audits, untrained=not audits.of_trainings)
    trouble = f"not compared with {audits.runs[1]}: {why}. {what_adds_it}"
    both = set(audits.epochs(audits.runs[0])) & set(audits.epochs(audits.runs[1]))
    for epoch in sorted(both - ({0} if audits.of_trainings else set()), reverse=True):
        moved, points = truth_movement(audits, epoch)
        if moved is not None:
            doubts = "".join(f". {doubt}" for doubt in audits.likeness.doubts)
            when = f" after {epochs(epoch)}" if audits.of_trainings else ""
            told = f"E_reg / E_twin{when}, geometric mean over {counted(points, 'point')}: {between(moved)}"
            return f"{trouble}. The movement of the truth is known without the bound ({told}){doubts}"
    return trouble


def _side(run: Run, name: str, audits: TwinAudits) -> Side:
    points = {epoch: audits.points(name, epoch) for epoch in audits.epochs(name)}
    return Side(run, points, {epoch: value for (of, epoch), value in audits.metrics.items() if of == name})


def _labels(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(label, group): weight and seed, and the settings in which the runs differ; a group's runs differ in the seed alone.

    The file is named where that does not tell two runs apart, and the id where they lie in one file.
    """
    flat = [dict(map(_by_class, flatten(run.record.settings))) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    differing = [key for key in keys if len({settings.get(key) for settings in flat}) > 1 and not _told(key)]
    ends = [key.rpartition(".")[2] for key in differing]
    short = {key: end if ends.count(end) == 1 else key for key, end in zip(differing, ends, strict=True)}
    bounds = {run.record.bound for run in runs if run.record.bound is not None}
    labels, groups = [], []
    for run, settings in zip(runs, flat, strict=True):
        penalised = run.record.bound is not None or run.recorded.penalised
        head = (run.recorded.course or f"weight {run.record.weight:g}") if penalised else run.name
        head = (
            f"{run.record.bound}, {head}"
            if penalised and len(bounds) > 1 and str(run.record.bound) not in head
            else head
        )
        rest = [f"{short[key]} {settings[key]}" for key in differing if key in settings]
        seed = [] if run.record.seed is None else [f"seed {run.record.seed}"]
        labels.append(", ".join([head, *seed, *rest]))
        groups.append(", ".join([head, *rest]))
    again = {label for label in labels if labels.count(label) > 1}
    places = [(label, run.source) for label, run in zip(labels, runs, strict=True)]
    marks = [
        f"{run.source}, id {run.record.id[:8]}" if places.count(place) > 1 and run.record.id else run.source
        for place, run in zip(places, runs, strict=True)
    ]
    full = [f"{label} ({mark})" if label in again else label for label, mark in zip(labels, marks, strict=True)]
    return list(zip(full, groups, strict=True))


def _told(key: str) -> bool:
    """Whether a label says it anyway, or it does not matter to training and audit."""
    return key.endswith("seed") or key in ("regularizer.weight", "regularizer.bound") or key.startswith("logger.")


def _by_class(setting: tuple[str, str]) -> tuple[str, str]:
    """An object of a configuration by its class alone: "penalty Hinge"."""
    key, value = setting
    return (key.removesuffix("._target_"), value.rpartition(".")[2]) if key.endswith("._target_") else setting


def flatten(settings: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value in words)."""
    if isinstance(settings, Mapping):
        return [row for key, inner in settings.items() for row in flatten(inner, f"{name}.{key}" if name else str(key))]
    return [(name, str(settings))]
