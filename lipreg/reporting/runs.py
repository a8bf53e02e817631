"""Runs found in record files, each with its twin: by name in its own file, else by seed in another."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.plain import alike, frozen
from lipreg.records import LeftOut, NewerRun, Source, Told
from lipreg.reporting.naming import Label, labels
from lipreg.reporting.wording import between, epochs
from lipreg.runs import RecordedRun, runs_of
from lipreg.transfer import Comparison, Pair, RunFigures, Side, compare_pair, truth_movement, why_not_compared
from lipreg.transfer.trained_alike import training_differences
from lipreg.words import counted, listed


@dataclass(frozen=True)
class Entry:
    """What the report shows at a time: a run beside its twin, or a run alone.

    Attributes:
        label: tells it from the other entries.
        group: what entries that differ in their seed alone are called.
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
    def mine(self) -> Side:
        """The run."""
        return self.pair.mine

    @property
    def twin(self) -> Side | None:
        """Its twin; None for a run alone."""
        return None if self.alone else self.pair.twin

    @property
    def sides(self) -> tuple[Side, ...]:
        """What is drawn: the run, and its twin if there is one."""
        return self.pair.sides[:1] if self.alone else self.pair.sides

    @property
    def last(self) -> Comparison | None:
        """The comparison at the last epoch that both were audited."""
        return self.comparisons[max(self.comparisons)] if self.comparisons else None

    @property
    def figures(self) -> RunFigures | None:
        """The run's own figures: those that are compared with the twin, else its last; None where there are none."""
        return self.last.regularised if self.last else next(reversed(self.mine.course), None)


def find_entries(
    sources: Iterable[Source], metric: str | None = None, told: Told | None = None
) -> tuple[list[Entry], list[LeftOut]]:
    """Every run that was trained with a penalty, beside its twin; then the audited runs that are nobody's twin.

    The twin of a run that cannot be shown is shown alone.

    Args:
        sources: the record files.
        metric: name of the logged metric to show; None takes that of each run's record, else what fits.
        told: called as the work goes on.

    Returns:
        The entries; and file and reason of runs that cannot be shown, because their records do not fit together.

    Raises:
        InvalidInput: no run logged that metric.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross; it names files and lines.
    """
    files = tuple(sources)
    try:
        return _find_entries(files, metric, told)
    except CrossingBounds as error:
        places = [place for record in error.between for file in files if (place := file.place(record))]
        where = ": ".join(filter(None, [" and ".join(dict.fromkeys(places)), error.where]))
        raise CrossingBounds(error.got, where=where, accepted=error.accepted, todo=error.todo) from None


def _find_entries(
    sources: Iterable[Source], metric: str | None, told: Told | None
) -> tuple[list[Entry], list[LeftOut]]:
    runs = runs_of(sources)
    logged = sorted({name for run in runs for record in run.epochs for name in record.metrics})
    if metric and metric not in logged:
        raise InvalidInput(
            f"metric={metric!r}, which no run has logged",
            where="report",
            accepted=", ".join(logged) or "None, as no metric was logged",
        )
    found = [_Found(run, *_twin(run, runs)) for run in runs if run.record.twin is not None or run.penalised]
    taken = {id(run) for pair in found for run in (pair.run, pair.twin)}
    found += [_Found(run, None, "") for run in runs if id(run) not in taken and run.audits]
    left_out = [_left_out(pair.run, "nothing was audited") for pair in found if not pair.run.audits]
    found = [pair for pair in found if pair.run.audits]
    entries, failed = _entries(found, metric, told)
    shown = {id(side.run) for entry in entries for side in entry.sides}
    twins = {id(pair.twin): pair.twin for pair, _ in failed if pair.twin is not None and pair.twin.audits}
    more, failed_too = _entries([_Found(twin, None, "") for key, twin in twins.items() if key not in shown], metric)
    return entries + more, left_out + [_left_out(pair.run, str(error)) for pair, error in (*failed, *failed_too)]


class _Found(NamedTuple):
    """A run, its twin, and why it has none where one was to be expected."""

    run: RecordedRun
    twin: RecordedRun | None
    why: str


def _entries(
    found: Sequence[_Found], metric: str | None, told: Told | None = None
) -> tuple[list[Entry], list[tuple[_Found, Exception]]]:
    """The entries, and what cannot be shown, each with the reason."""
    entries: list[Entry] = []
    failed: list[tuple[_Found, Exception]] = []
    for number, (pair, label) in enumerate(zip(found, labels([pair.run for pair in found]), strict=True)):
        if told is not None:
            told("comparing runs", number, len(found))
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
    if len(set(map(_said, named))) == 1:
        return named[0], ""
    fitting = [other for other in runs if other is not run and _could_be_twin(other, run)]
    fitting = [other for other in fitting if other.label == run.record.twin] or fitting
    if not fitting:
        return None, _no_twin(run, runs)
    if len(set(map(_said, fitting))) > 1:
        return None, f"no twin: {len(fitting)} different runs could be it ({', '.join(o.source for o in fitting[:3])})"
    return fitting[0], ""


def _no_twin(run: RecordedRun, runs: Sequence[RecordedRun]) -> str:
    """Why nothing is taken for the twin of a run that names none that is here, and what changes that."""
    if run.record.seed is None:
        return (
            "no twin: the run's record tells no seed, by which a run of weight 0 would be known as its twin. "
            "Call seed_everything before both trainings, or name the twin: LipschitzAudit(twin=...)"
        )
    why = f"no twin: no run of weight 0 with seed {run.record.seed}, the same question, settings and start"
    near = [training_differences(run.record.settings, o.record.settings) for o in runs if _could_be_twin(o, run, False)]
    return f"{why}. The nearest was trained otherwise: {listed(min(near, key=len))}" if near else why


def _said(run: RecordedRun) -> Hashable:
    """Equal for runs whose audits say the same: a twin that every job of a sweep trained again."""
    audits = frozenset((r.epoch, r.point, r.estimator, r.fingerprint, r.subject) for r in run.audits)
    return frozen(run.question), run.record.seed, audits or run.label


def _could_be_twin(other: RecordedRun, run: RecordedRun, trained_alike: bool = True) -> bool:
    """Same seed, question and, if asked, training, no penalty, and the same weights wherever both were audited untrained."""
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


def _entry(found: _Found, label: Label, metric: str | None) -> Entry:
    run, twin, why = found
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
        return _entry(_Found(run, None, f"not compared with {twin.label}: {error}"), label, metric)


def _not_compared(pair: Pair) -> str:
    """Why a run and its twin are not compared, and what adds it; the movement of the truth where that is known."""
    why, what_adds_it = why_not_compared(pair, untrained=not pair.of_trainings)
    trouble = f"not compared with {pair.twin.name}: {why}. {what_adds_it}"
    both = [epoch for epoch in pair.mine.audits if epoch in pair.twin.audits and (epoch or not pair.of_trainings)]
    for epoch in reversed(both):
        moved = truth_movement(pair, epoch)
        if moved.exact is not None:
            doubts = "".join(f". {doubt}" for doubt in pair.likeness.doubts)
            when = f" after {epochs(epoch)}" if pair.of_trainings else ""
            first = "E_reg" if pair.of_trainings else "E_network"
            told = (
                f"{first} / E_twin{when}, geometric mean over {counted(moved.points, 'point')}: {between(moved.exact)}"
            )
            return f"{trouble}. The movement of the truth is known without the bound ({told}){doubts}"
    return trouble
