"""What an audit says in a few numbers: means over the reference points, under stable names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lipreg.auditing import EXACT, AuditPlan, PointAudit
from lipreg.callbacks.outward import outward
from lipreg.records import CalibrationRecord, RunRecord
from lipreg.results import Certificate
from lipreg.runs import RecordedRun
from lipreg.transfer import Interval, RunFigures, Side, mean_of

SCALE_FREE = ("margin_over_constant", "certified_lower", "certified_upper", "certified_closed", "attacked")
_LOWER = ("margin_over_constant", "certified_closed", "tightness")
"""Lower ends among what is logged under other names."""
CALIBRATED = ("calibration", "calibrated_lower", "calibrated_upper")
"""What an audit logs that a mere division of the outputs does not move, without and with points to calibrate with."""


def summary(
    audits: Sequence[PointAudit],
    penalised: str | None = None,
    prefix: str = "audit",
    calibration: CalibrationRecord | None = None,
) -> dict[str, float]:
    """Means over the reference points, under the names that are logged; ends that were not proved are left out.

    ``audit/margin_over_constant`` is the lower end of the median over the points of margin / constant, 0 for points that
    are classified wrongly; ``audit/certified_lower`` and ``_upper`` bracket the share of points of which the constant
    proves that the whole region has their class, ``audit/certified_closed`` is the share by the best bound without a search,
    ``audit/attacked`` the share that an attack has left. ``audit/calibration`` is T (``lipreg.calibration``);
    ``audit/calibrated_lower`` and ``_upper`` bracket T * E, ``audit/calibrated_bound`` is T * B. None of these is moved by
    outputs that are all divided by one number; those that follow are.

    ``audit/exact_lower`` and ``audit/exact_upper`` bracket the mean true constant, and a search (``mip``) has both ends
    too; every other estimator has its mean upper end (``audit/lp``) or, for lower bounds, lower end (``audit/sampling``).
    ``audit/bound`` is the mean penalised bound, whatever its name; ``audit/tightness`` is the lower end of the tightness of
    tables and pages, the geometric mean over the points of bound / exact upper end, where it is defined at all of them;
    ``audit/share_exact`` is the share of points at which both ends meet. All are numbers of float32, ends rounded outwards.
    """
    found, means = _figures(audits, penalised, calibration), dict[str, float]()
    for name in audits[0].intervals:
        intervals = [a.intervals[name] for a in audits]
        mean = mean_of([Interval(i.lower, i.upper) for i in intervals])  # rounded outwards
        one_sided = mean.lower if intervals[0].certificate is Certificate.LOWER else mean.upper
        ends = _ends(audits[0].plan, name)
        values = (mean.lower, mean.upper) if len(ends) == 2 else (one_sided,)
        means |= {f"{prefix}/{end}": value for end, value in zip(ends, values, strict=True)}
    if penalised is not None:
        means[f"{prefix}/bound"] = means[f"{prefix}/{penalised}"]
        tight = found.tightness
        means |= {f"{prefix}/tightness": tight.lower} if tight is not None and tight.lower > 0 else {}
    means[f"{prefix}/share_exact"] = found.share_exact
    means |= {f"{prefix}/{name}": value for name, value in _scale_free(found, penalised is not None).items()}
    known = {name: value for name, value in means.items() if abs(value) != float("inf")}
    return outward(known, *_one_sided(audits[0].plan, prefix))


def _one_sided(plan: AuditPlan, prefix: str) -> tuple[list[str], list[str]]:
    """The names of upper ends and of lower ends whose names do not say it."""
    told: tuple[list[str], list[str]] = (["bound", "calibrated_bound"], [*_LOWER])
    for label, method in plan.methods().items():
        told[method.certificate is Certificate.LOWER].append(label)
    return tuple([f"{prefix}/{name}" for name in names] for names in told)  # type: ignore[return-value]


def _figures(audits: Sequence[PointAudit], penalised: str | None, calibration: CalibrationRecord | None) -> RunFigures:
    """The figures of tables and pages, of this audit alone."""
    records = tuple(r for audit in audits for r in audit.records("", 0))
    told = () if calibration is None else (replace(calibration, epoch=0),)
    side = Side("", RecordedRun(RunRecord(""), records, calibrations=told), penalised or EXACT, {}, {})
    (found,) = side.course
    return found


def _scale_free(found: RunFigures, bounded: bool) -> dict[str, float]:
    """What is known of ``SCALE_FREE``, ``CALIBRATED`` and, where there is a bound, the calibrated one."""
    ends = {
        "margin_over_constant": found.margin_over_constant and found.margin_over_constant.lower,
        "certified_lower": found.certified and found.certified.lower,
        "certified_upper": found.certified and found.certified.upper,
        "certified_closed": found.certified_closed,
        "attacked": found.attacked,
        "calibration": found.calibration and found.calibration.factor,
        "calibrated_lower": found.calibrated and found.calibrated.lower,
        "calibrated_upper": found.calibrated and found.calibrated.upper,
        "calibrated_bound": found.calibrated_bound if bounded else None,
    }
    return {name: float(value) for name, value in ends.items() if value is not None}


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
    names += [*SCALE_FREE, *CALIBRATED]
    names += ["bound", "tightness", "calibrated_bound"] if penalised is not None else []
    for of in ("", "calibrated_") if twin else ():
        names += [f"{of}movement_lower", f"{of}movement_upper"]
        if penalised is not None:
            names += [f"{of}{name}" for name in ("bound_movement", "transfer", "transfer_lower", "transfer_upper")]
    return tuple(f"{prefix}/{name}" for name in names)
