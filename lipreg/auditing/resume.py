"""Going on from saved records: what they prove is used if they are about the same thing, and a notice says why if not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import COMBINED, PointAudit, versions
from lipreg.bounds import Analysis
from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.plain import misfits
from lipreg.records import AuditRecord
from lipreg.records.endings import EARLIER
from lipreg.results import EXACT_TOLERANCE, CertifiedInterval, Status
from lipreg.words import numbered

AGREEMENT = 1e-9
"""Relative difference up to which a saved witness attains what its record says: the rounding of another machine."""
NO_POINT = "there is no such point"
"""Why the record of a point that the audit has not is not used."""


def with_earlier(
    points: list[PointAudit],
    analysis: Analysis,
    earlier: Iterable[AuditRecord],
    on_unused: Callable[[str], None] | None = None,
) -> list[PointAudit]:
    """The points with what earlier records prove of them.

    A record is used if it has the same question, network, reference point (by hash), functional, settings of its
    estimator and software versions, and if its witness, evaluated anew, attains what the record says. The last one of a
    point and estimator that is used counts for the estimator. What others of the point prove beyond that counts for all
    estimators together, so that nothing is lost which an earlier run proved: those of the estimator before it, whose number
    may have been another method's, and those of all estimators together, where no other record of their run is refused.

    Args:
        points: the points of the audit, by index.
        analysis: of all points.
        earlier: the records, in the order in which they were written.
        on_unused: called with a sentence on how many records are not used, and why; None warns.

    Raises:
        CrossingBounds: two records contradict each other.
        InvalidInput: a record has fields of other types.
    """
    earlier = list(earlier)
    for record in earlier:
        if wrong := misfits(record):
            raise InvalidInput(f"a record with {', '.join(wrong)}", where="earlier records")
    resuming = _Resuming(points, analysis, earlier)
    by_estimator: dict[tuple[int, str], list[AuditRecord]] = {}
    for record in earlier:
        by_estimator.setdefault((record.point, record.estimator), []).insert(0, record)
    own = {key: records for key, records in by_estimator.items() if key[1] != COMBINED}
    for records in own.values():
        resuming.take(records)
    for records in by_estimator.values():
        for record in records:
            resuming.take_ends(record)
    if resuming.refused:
        notice = _sentence(resuming.refused, len(own), len(points))
        warnings.warn(notice, stacklevel=3) if on_unused is None else on_unused(notice)
    return resuming.points


class _Resuming:
    """Points that take on what earlier records prove.

    Attributes:
        points: the points, by index.
        refused: by the reason why records are not used, the points that they are of.
    """

    def __init__(self, points: list[PointAudit], analysis: Analysis, records: Iterable[AuditRecord]) -> None:
        self.points, self._analysis = list(points), analysis
        self.refused: dict[str, list[int]] = {}
        self._parts: dict[tuple[int, str], list[AuditRecord]] = {}
        for record in records:
            self._parts.setdefault((record.point, record.run_id), []).append(record)
        self._unattained: set[tuple[int, str]] = set()

    def take(self, records: list[AuditRecord]) -> None:
        """Joins the first of an estimator's records at a point that can be used, the last one first."""
        reasons = []
        for record in records:
            why, interval = self._read(record)
            if interval is not None:
                index, name = record.point, record.estimator
                point = self.points[index].joined(name, _of_earlier(interval), record.seconds)
                reopened = point.reopened | {name} if _may_go_on(record, point.plan) else point.reopened
                self.points[index] = replace(point, resumed=point.resumed | {name, COMBINED}, reopened=reopened)
                return
            reasons.append(why)
        self.refused.setdefault(reasons[0], []).append(records[0].point)

    def take_ends(self, record: AuditRecord) -> None:
        """Joins what a record proves beyond what is known of its point; nothing where it is not used, or proves no more."""
        if not 0 <= record.point < len(self.points):
            return
        point, run = self.points[record.point], (record.point, record.run_id)
        if not (record.upper < point.combined.upper or record.lower > point.combined.lower):
            return
        if record.estimator == COMBINED and (run in self._unattained or any(map(self._unfit, self._parts[run]))):
            return
        _, interval = self._read(record)
        if interval is not None:
            self.points[record.point] = point.with_ends(_of_earlier(interval), record.estimator)

    def _read(self, record: AuditRecord) -> tuple[str, CertifiedInterval | None]:
        """Why a record is not used, and None; or its interval."""
        if why := self._unfit(record):
            return why, None
        interval = _interval(record, self.points[record.point], self._analysis)
        if interval is None:
            self._unattained.add((record.point, record.run_id))
            return "the witness does not attain what the record says", None
        return "", interval

    def _unfit(self, record: AuditRecord) -> str:
        """Why a record is not one of this audit; empty if it is."""
        if not 0 <= record.point < len(self.points):
            return NO_POINT
        point = self.points[record.point]
        if record.estimator not in (*point.plan.recipes, COMBINED):
            return f"the estimator {record.estimator} is not in the plan"
        return _mismatch(record, point)


def _of_earlier(interval: CertifiedInterval) -> CertifiedInterval:
    """A saved interval, whose detail says that it was an earlier run which left it unfinished."""
    if not interval.status.cut or interval.detail.startswith(EARLIER):
        return interval
    return replace(interval, detail=f"{EARLIER}: {interval.detail or interval.status.value}")


def _sentence(refused: Mapping[str, Sequence[int]], records: int, points: int) -> str:
    """How many records are not used, why, and of which points they are where these are not all."""
    count = sum(map(len, refused.values()))
    if count < records:
        subject = f"{count} of {records} earlier records {'is' if count == 1 else 'are'} not used"
    else:
        subject = "the earlier record is not used" if records == 1 else f"none of {records} earlier records is used"
    reasons = {why: _with_points(why, at, points) for why, at in refused.items()}
    if len(refused) == 1:
        return f"{subject}, because {next(iter(reasons.values()))}"
    return f"{subject}: {'; '.join(f'{len(at)} because {reasons[why]}' for why, at in refused.items())}"


def _with_points(why: str, at: Sequence[int], points: int) -> str:
    """A reason with the points for which it holds, where these are not all of so many."""
    if why == NO_POINT:
        are = "there is no" if len(set(at)) == 1 else "there are no"
        here = "point 0 alone" if points == 1 else f"points 0 to {points - 1}"
        return f"{are} {numbered('point', at)} here: this run has {here}, the earlier one had others"
    return why if set(at) == set(range(points)) else f"{why} (at {numbered('point', at)})"


def _mismatch(record: AuditRecord, point: PointAudit) -> str:
    """Why the record is not about this point, network and question; empty if it is."""
    wanted: dict[str, tuple[object, object]] = {
        "the question": (record.question, point.combined.problem.describe()),
        "the network": (record.fingerprint, point.fingerprint),
        "the reference point": (record.subject, point.combined.subject),
        "the functional": (record.functional, point.combined.functional),
    }
    for name, (saved, ours) in wanted.items():
        if saved != ours:
            return f"{name} is another one"
    if record.versions != versions():
        return f"another version proved it ({_difference(record.versions, versions())})"
    if record.estimator == COMBINED:
        return "" if record.tolerances == {"exact": EXACT_TOLERANCE} else "its ends rest on another tolerance"
    settings, estimator = point.plan.settings_of(record.estimator), point.plan.method(record.estimator)
    engine, option = estimator.engine(point.plan.solver_of(record.estimator)), estimator.solver_option
    if record.asked.get(option) == settings.get(option) and record.engine != engine:
        return f"another version proved it ({record.engine or 'unknown'}, here {engine})"
    if record.tolerances != estimator.tolerances():  # a solver's word, when that was a proof
        return "its proof rests on other tolerances"
    if {key: record.asked.get(key) for key in settings} != settings:
        return "the settings differ"
    return ""


def _may_go_on(record: AuditRecord, plan: AuditPlan) -> bool:
    """Whether the record ended at a limit on nodes or memory, and the plan's is wider."""
    name = {Status.NODE_LIMIT.value: "nodes", Status.MEMORY_LIMIT.value: "memory"}.get(record.status)
    if name is None:
        return False
    limit = getattr(plan.budget, name)
    return limit is None or limit > (record.asked.get(name) or 0)


def _difference(saved: Mapping[str, str], ours: Mapping[str, str]) -> str:
    names = sorted(name for name in {*saved, *ours} if saved.get(name) != ours.get(name))
    return ", ".join(f"{name} {saved.get(name, 'unknown')}, here {ours.get(name, 'none')}" for name in names)


def _interval(record: AuditRecord, point: PointAudit, analysis: Analysis) -> CertifiedInterval | None:
    """The record's interval, its witness evaluated on the network again; None if that does not attain the lower end."""
    witness, lower = None, record.lower
    if record.witness is not None:
        shape = analysis.placed.region.shape
        if len(record.witness) != math.prod(shape):
            return None
        x = torch.tensor(record.witness, dtype=torch.float64).reshape(1, *shape)
        witness = best_witness(analysis, record.point, x)
        if witness is None or not witness.attained >= (1.0 - AGREEMENT) * lower:  # one that shows more is as good
            return None
        lower = min(lower, witness.attained)
    try:
        return CertifiedInterval(
            point.combined.problem,
            point.combined.functional,
            lower=lower,
            upper=record.upper,
            status=Status(record.status),
            proof=record.proof,
            witness=witness,
            estimate=record.estimate,
            detail=record.detail,
            subject=point.combined.subject,
            families=tuple(record.families),
        )
    except CrossingBounds:
        raise
    except (InvalidInput, ValueError):  # an end without its backing, an unknown status
        return None
