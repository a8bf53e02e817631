"""Going on from saved records: what they prove is used if they are about the same thing, and a notice says why if not."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch

from lipreg.auditing.joining import EARLIER
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import EXACT, PointAudit, versions
from lipreg.bounds import Analysis
from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.plain import misfits
from lipreg.records import AuditRecord
from lipreg.results import CertifiedInterval, Status

AGREEMENT = 1e-9
"""Relative difference up to which a saved witness attains what its record says: the rounding of another machine."""


def with_earlier(
    points: list[PointAudit],
    analysis: Analysis,
    earlier: Iterable[AuditRecord],
    on_unused: Callable[[str], None] | None = None,
) -> list[PointAudit]:
    """The points with what earlier records prove of them.

    A record is used if it has the same question, network, reference point (by hash), functional, settings of its
    estimator and software versions, and if its witness, evaluated anew, attains what the record says. The last record of a
    point and estimator counts.

    Args:
        points: the points of the audit, by index.
        analysis: of all points.
        earlier: the records.
        on_unused: called with a sentence on how many records are not used, and why; None warns.

    Raises:
        CrossingBounds: two records contradict each other.
        InvalidInput: a record has fields of other types.
    """
    refused: Counter[str] = Counter()
    resumed = list(points)
    earlier = list(earlier)
    for record in earlier:
        if wrong := misfits(record):
            raise InvalidInput(f"a record with {', '.join(wrong)}", where="earlier records")
    last = {(r.point, r.estimator): r for r in earlier if r.estimator != EXACT}
    for (index, name), record in last.items():
        if not 0 <= index < len(points):
            refused["there is no such point"] += 1
        elif name not in points[index].plan.recipes:
            refused[f"the estimator {name} is not in the plan"] += 1
        elif why := _mismatch(record, points[index]):
            refused[why] += 1
        elif (interval := _interval(record, points[index], analysis)) is None:
            refused["the witness does not attain what the record says"] += 1
        else:
            point = resumed[index].joined(name, _of_earlier(interval), record.seconds)
            reopened = point.reopened | {name} if _may_go_on(record, point.plan) else point.reopened
            resumed[index] = replace(point, resumed=point.resumed | {name, EXACT}, reopened=reopened)
    if refused:
        notice = _sentence(refused, len(last))
        warnings.warn(notice, stacklevel=3) if on_unused is None else on_unused(notice)
    return resumed


def _of_earlier(interval: CertifiedInterval) -> CertifiedInterval:
    """A saved interval, whose detail says that it was an earlier run which left it unfinished."""
    if not interval.status.cut or interval.detail.startswith(EARLIER):
        return interval
    return replace(interval, detail=f"{EARLIER}: {interval.detail or interval.status.value}")


def _sentence(refused: Counter[str], records: int) -> str:
    count = refused.total()
    if count < records:
        subject = f"{count} of {records} earlier records {'is' if count == 1 else 'are'} not used"
    else:
        subject = "the earlier record is not used" if records == 1 else f"none of {records} earlier records is used"
    if len(refused) == 1:
        return f"{subject}, because {next(iter(refused))}"
    return f"{subject}: {'; '.join(f'{count} because {why}' for why, count in refused.items())}"


def _mismatch(record: AuditRecord, point: PointAudit) -> str:
    """Why the record is not about this point, network and question; empty if it is."""
    wanted: dict[str, tuple[object, object]] = {
        "the question": (record.question, point.exact.problem.describe()),
        "the network": (record.fingerprint, point.fingerprint),
        "the reference point": (record.subject, point.exact.subject),
        "the functional": (record.functional, point.exact.functional),
    }
    for name, (saved, ours) in wanted.items():
        if saved != ours:
            return f"{name} is another one"
    if record.versions != versions():
        return f"another version proved it ({_difference(record.versions, versions())})"
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
            point.exact.problem,
            point.exact.functional,
            lower=lower,
            upper=record.upper,
            status=Status(record.status),
            proof=record.proof,
            witness=witness,
            estimate=record.estimate,
            detail=record.detail,
            subject=point.exact.subject,
            families=tuple(record.families),
        )
    except CrossingBounds:
        raise
    except (InvalidInput, ValueError):  # an end without its backing, an unknown status
        return None
