"""The runs in record files, each with its twin: by name in its own file, else by seed in another."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.plain import alike, frozen
from lipreg.records import LeftOut, NewerRun, ProgressCallback, Source
from lipreg.reporting.naming import EntryLabel, labels
from lipreg.reporting.wording import between, epochs
from lipreg.runs import RecordedRun, runs_of
from lipreg.transfer import Comparison, Pair, RunFigures, Side, compare_pair, truth_movement, why_not_compared
from lipreg.transfer.trained_alike import training_differences
from lipreg.words import counted, listed


@dataclass(frozen=True)
class Entry:
    """An entry of the report, which shows one at a time: a run beside its twin, or a run alone.

    Attributes:
        label: a name that no other entry has.
        group: the name of entries that differ in their seed alone.
        pair: the run, and its twin if there is one.
        alone: whether there is none to show.
        comparisons: with the twin, by epoch; none where only the untrained networks could be compared.
        trouble: why there is no comparison, where one was to be expected.
    """

    label: str
    group: str
    pair: Pair
    alone: bool = False
    comparisons: Mapping[int, Comparison] = field(default_factory=dict)
    trouble: str = ""

    @property
    def regularised(self) -> Side:
        """The run."""
        return self.pair.regularised

    @property
    def twin(self) -> Side | None:
        """Its twin; None for a run alone."""
        return None if self.alone else self.pair.twin

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that are drawn: the run, and its twin if there is one."""
        return self.pair.sides[:1] if self.alone else self.pair.sides

    @property
    def last(self) -> Comparison | None:
        """The comparison at the last epoch that both were audited."""
        return self.comparisons[max(self.comparisons)] if self.comparisons else None

    @property
    def figures(self) -> RunFigures | None:
        """The run's own figures: those that are compared with the twin, else its last; None where there are none."""
        return self.last.regularised if self.last else next(reversed(self.regularised.trajectory), None)


def find_entries(
    sources: Iterable[Source], metric: str | None = None, on_progress: ProgressCallback | None = None
) -> tuple[list[Entry], list[LeftOut]]:
    """The entries of every run that was trained with a penalty, beside its twin; then of audited runs that are no twin.

    The twin of a run that cannot be shown is shown alone.

    Args:
        sources: the record files.
        metric: name of the logged metric to show; None takes that of each run's record, else what fits.
        on_progress: called as the work goes on.

    Returns:
        The entries; and file and reason of runs that cannot be shown, because their records do not fit together.

    Raises:
        InvalidInput: no run logged that metric.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross; it names files and lines.
    """
    files = tuple(sources)
    try:
        return _find_entries(files, metric, on_progress)
    except CrossingBounds as error:
        places = [place for record in error.between for file in files if (place := file.place(record))]
        where = ": ".join(filter(None, [" and ".join(dict.fromkeys(places)), error.where]))
        raise CrossingBounds(error.got, where=where, accepted=error.accepted, todo=error.todo) from None


def _find_entries(
    sources: Iterable[Source], metric: str | None, on_progress: ProgressCallback | None
) -> tuple[list[Entry], list[LeftOut]]:
    runs = runs_of(sources)
    logged = sorted({name for run in runs for record in run.epochs for name in record.metrics})
    if metric and metric not in logged:
        raise InvalidInput(
            f"metric={metric!r}, which no run has logged",
            where="report",
            accepted=", ".join(logged) or "no metric, as no run has logged any",
        )
    pairs = [_RunPair(run, *_twin(run, runs)) for run in runs if run.record.twin is not None or run.penalised]
    taken = {id(run) for pair in pairs for run in (pair.run, pair.twin)}
    pairs += [_RunPair(run, None, "") for run in runs if id(run) not in taken and run.audits]
    left_out = [_left_out(pair.run, "nothing was audited") for pair in pairs if not pair.run.audits]
    pairs = [pair for pair in pairs if pair.run.audits]
    entries, failed = _entries(pairs, metric, on_progress)
    shown = {id(side.run) for entry in entries for side in entry.sides}
    twins = {id(pair.twin): pair.twin for pair, _ in failed if pair.twin is not None and pair.twin.audits}
    more, failed_too = _entries([_RunPair(twin, None, "") for key, twin in twins.items() if key not in shown], metric)
    return entries + more, left_out + [_left_out(pair.run, str(error)) for pair, error in (*failed, *failed_too)]


class _RunPair(NamedTuple):
    """A run, its twin, and why it has none where one was to be expected."""

    run: RecordedRun
    twin: RecordedRun | None
    why: str


def _entries(
    pairs: Sequence[_RunPair], metric: str | None, on_progress: ProgressCallback | None = None
) -> tuple[list[Entry], list[tuple[_RunPair, Exception]]]:
    """The entries, and the pairs that cannot be shown, each with the reason."""
    entries: list[Entry] = []
    failed: list[tuple[_RunPair, Exception]] = []
    for number, (pair, label) in enumerate(zip(pairs, labels([pair.run for pair in pairs]), strict=True)):
        if on_progress is not None:
            on_progress("comparing runs", number, len(pairs))
        try:
            entries.append(_entry(pair, label, metric))
        except (IncomparableResults, InvalidInput) as error:
            failed.append((pair, error))
    return entries, failed


def _left_out(run: RecordedRun, reason: str) -> LeftOut:
    return LeftOut(run.source, f"run {run.label}: {reason}")


def _twin(run: RecordedRun, runs: Sequence[RecordedRun]) -> tuple[RecordedRun | None, str]:
    """The twin, or None and why there is none."""
    if run.record.twin_id:
        twin = next((other for other in runs if other.record.id == run.record.twin_id), None)
        why = f"no twin: {run.record.twin} (id {run.record.twin_id}) is in none of these files"
        return twin, "" if twin else why
    named = [other for other in runs if other.source == run.source and other.label == run.record.twin]
    if len(named) > 1:  # trained again in the same folder
        named = [other for other in named if _could_be_twin(other, run)]
    if len(set(map(_audit_key, named))) == 1:
        return named[0], ""
    fitting = [other for other in runs if other is not run and _could_be_twin(other, run)]
    fitting = [other for other in fitting if other.label == run.record.twin] or fitting
    if not fitting:
        return None, _no_twin(run, runs)
    if len(set(map(_audit_key, fitting))) > 1:
        return None, f"no twin: {len(fitting)} different runs could be it ({', '.join(o.source for o in fitting[:3])})"
    return fitting[0], ""


def _no_twin(run: RecordedRun, runs: Sequence[RecordedRun]) -> str:
    """Why no run is taken for the twin of a run that names none of these, and what changes that."""
    if run.record.seed is None:
        return (
            "no twin: the run's record tells no seed, by which a run of weight 0 would be known as its twin. "
            "Call seed_everything before both trainings, or name the twin: LipschitzAudit(twin=...)"
        )
    why = f"no twin: no run of weight 0 with seed {run.record.seed}, the same question, settings and start"
    near = [training_differences(run.record.settings, o.record.settings) for o in runs if _could_be_twin(o, run, False)]
    return f"{why}. The nearest was trained otherwise: {listed(min(near, key=len))}" if near else why


def _audit_key(run: RecordedRun) -> Hashable:
    """A key that is equal for runs with equal audits, such as a twin that every job of a sweep trained again."""
    audits = frozenset((r.epoch, r.point, r.estimator, r.fingerprint, r.subject) for r in run.audits)
    return frozen(run.question), run.record.seed, audits or run.label


def _could_be_twin(other: RecordedRun, run: RecordedRun, trained_alike: bool = True) -> bool:
    """Whether a run has no penalty, and the same seed, question, untrained weights (where audited) and, with
    ``trained_alike``, settings as another."""
    mine, theirs = run.record, other.record
    if theirs.twin is not None or other.penalised or isinstance(theirs, NewerRun):
        return False
    if theirs.seed is None or theirs.seed != mine.seed:
        return False
    if not other.audits or not alike(other.question, run.question):
        return False
    if trained_alike and training_differences(mine.settings, theirs.settings):
        return False
    return len({run.start, other.start} - {None}) < 2


def _entry(run_pair: _RunPair, label: EntryLabel, metric: str | None) -> Entry:
    run, twin, why = run_pair
    try:
        pair = Pair.of(run, twin, metric)
        mine, theirs = (side.points for side in pair.sides)
        if twin is None:
            return Entry(*label, pair, alone=True, trouble=why)
        shared = [epoch for epoch, points in mine.items() if points.keys() & theirs.get(epoch, {}).keys()]
        if not shared or (shared == [0] and pair.of_trainings):
            return Entry(*label, pair, trouble=_not_compared(pair))
        return Entry(*label, pair, comparisons={epoch: compare_pair(pair, epoch) for epoch in shared})
    except (IncomparableResults, InvalidInput) as error:
        if twin is None:
            raise
        return _entry(_RunPair(run, None, f"not compared with {twin.label}: {error}"), label, metric)


def _not_compared(pair: Pair) -> str:
    """Why a run and its twin are not compared, and what adds that; with the movement of the truth where it is defined."""
    why, what_adds_it = why_not_compared(pair, untrained=not pair.of_trainings)
    trouble = f"not compared with {pair.twin.name}: {why}. {what_adds_it}"
    both = [
        epoch for epoch in pair.regularised.audits if epoch in pair.twin.audits and (epoch or not pair.of_trainings)
    ]
    for epoch in reversed(both):
        moved = truth_movement(pair, epoch)
        if moved.combined is not None:
            doubts = "".join(f". {doubt}" for doubt in pair.likeness.doubts)
            when = f" after {epochs(epoch)}" if pair.of_trainings else ""
            first = "E_reg" if pair.of_trainings else "E_network"
            over = f"geometric mean over {counted(moved.points, 'point')}"
            figures = f"{first} / E_twin{when}, {over}: {between(moved.combined)}"
            return f"{trouble}. The movement of the truth is known without the bound ({figures}){doubts}"
    return trouble
