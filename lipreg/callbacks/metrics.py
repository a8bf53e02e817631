"""What an audit says in a few numbers: means over the reference points, under stable names."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lipreg.auditing import EXACT, AuditPlan, PointAudit
from lipreg.results import Certificate
from lipreg.transfer import Interval, mean_tightness, tightness


def summary(audits: Sequence[PointAudit], penalised: str | None = None, prefix: str = "audit") -> dict[str, float]:
    """Means over the reference points, under the names that are logged; ends that were not proved are left out.

    ``audit/exact_lower`` and ``audit/exact_upper`` bracket the mean true constant, and a search (``mip``) has both ends
    too; every other estimator has its mean upper end (``audit/lp``) or, for lower bounds, lower end (``audit/sampling``).
    ``audit/bound`` is the mean penalised bound, whatever its name; ``audit/tightness`` is the lower end of the tightness of
    tables and pages, the geometric mean over the points of bound / exact upper end, where it is defined at all of them;
    ``audit/share_exact`` is the share of points at which both ends meet.
    """
    means: dict[str, float] = {}
    for name in audits[0].intervals:
        intervals = [a.intervals[name] for a in audits]
        lower = float(torch.tensor([i.lower for i in intervals], dtype=torch.float64).mean())
        upper = float(torch.tensor([i.upper for i in intervals], dtype=torch.float64).mean())
        one_sided = lower if intervals[0].certificate is Certificate.LOWER else upper
        ends = _ends(audits[0].plan, name)
        values = (lower, upper) if len(ends) == 2 else (one_sided,)
        means |= {f"{prefix}/{end}": value for end, value in zip(ends, values, strict=True)}
    if penalised is not None:
        means[f"{prefix}/bound"] = means[f"{prefix}/{penalised}"]
        ends = [(a.intervals[penalised].upper, Interval(a.exact.lower, a.exact.upper)) for a in audits]
        tight = mean_tightness([tightness(bound, exact) for bound, exact in ends])
        means |= {f"{prefix}/tightness": tight.lower} if tight is not None and tight.lower > 0 else {}
    means[f"{prefix}/share_exact"] = sum(a.exact.certificate is Certificate.EXACT for a in audits) / len(audits)
    return {name: value for name, value in means.items() if abs(value) != float("inf")}


def _ends(plan: AuditPlan, label: str) -> tuple[str, ...]:
    """Under which names an interval is logged: both ends of the exact one and of a search, one of every other's."""
    both = label == EXACT or plan.method(label).certificate is Certificate.BRACKET
    return (f"{label}_lower", f"{label}_upper") if both else (label,)


def metric_names(plan: AuditPlan, penalised: str | None, twin: bool, prefix: str) -> tuple[str, ...]:
    """Every name under which an audit may have a number: those of ``summary``, and with a twin those of ``Twin.compared``.

    Args:
        plan: what the audit asks.
        penalised: label of the penalised bound, if there is one.
        twin: whether movement and transfer against a twin are logged.
        prefix: first part of the names.
    """
    names = [*_ends(plan, EXACT), "share_exact", *(end for label in plan.methods() for end in _ends(plan, label))]
    names += ["bound", "tightness"] if penalised is not None else []
    if twin:
        names += ["movement_lower", "movement_upper"]
    if twin and penalised is not None:
        names += ["bound_movement", "transfer", "transfer_lower", "transfer_upper"]
    return tuple(f"{prefix}/{name}" for name in names)
