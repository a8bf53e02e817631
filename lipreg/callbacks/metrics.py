"""The metrics of an audit: means over the reference points, under stable names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lipreg.auditing import COMBINED, AuditPlan, PointAudit
from lipreg.callbacks.outward import outward
from lipreg.records import CalibrationRecord, RunRecord
from lipreg.results import Certificate
from lipreg.runs import RecordedRun
from lipreg.transfer import Interval, RunFigures, Side, margins_told, mean_of

SCALE_FREE = ("margin_over_constant", "certified_lower", "certified_upper", "certified_closed", "attacked")
_LOWER = ("margin_over_constant", "certified_closed", "tightness")
"""Lower ends among what is logged under other names."""
CALIBRATED = ("calibration", "calibrated_lower", "calibrated_upper")
"""The names of metrics that a division of all outputs by one number does not change; these need points to calibrate with."""


def summary(
    audits: Sequence[PointAudit],
    penalised: str | None = None,
    prefix: str = "audit",
    calibration: CalibrationRecord | None = None,
) -> dict[str, float]:
    """The means over the reference points, under the names that are logged; ends that were not proved are left out.

    ``audit/margin_over_constant`` is the lower end of the median over the points of margin / constant, 0 for points that
    are classified wrongly; ``audit/certified_lower`` and ``_upper`` bracket the share of points of which the constant
    proves that the whole region has their class, ``audit/certified_closed`` is the share by the best bound without a search,
    ``audit/attacked`` the share that survives an attack. ``audit/calibration`` is T (``lipreg.calibration``);
    ``audit/calibrated_lower`` and ``_upper`` bracket T * E, ``audit/calibrated_bound`` is T * B. Of these, all but T stay as
    they are when all outputs are divided by one number; those that follow do not.

    ``audit/combined_lower`` and ``audit/combined_upper`` bracket the mean true constant, and a search (``mip``) has both
    ends too; every other estimator has its mean upper end (``audit/lp``) or, for lower bounds, lower end
    (``audit/sampling``). Of a bound that was cut short at some points, for want of time, say, of a search that was not
    begun there, and of lower bounds without a witness there, it is the mean over the others, and ``audit/lp_points`` is
    their number; nothing else where there are none.
    ``audit/bound`` is the mean penalised bound, whatever its name; ``audit/tightness`` is the lower end of the tightness of
    tables and pages, the geometric mean over the points of bound / combined upper end, where it is defined at all of them;
    ``audit/share_exact`` is the share of points at which both ends meet. All are numbers of float32, ends rounded outwards.

    Args:
        audits: what was proved, one for each reference point, at least one.
        penalised: label of the penalised bound; None without one.
        prefix: first part of the names.
        calibration: of the same weights; None without one.
    """
    figures, means = _figures(audits, penalised, calibration), dict[str, float]()
    short = dict[str, int]()
    for name in audits[0].intervals:
        intervals = [a.intervals[name] for a in audits if _has_mean(a, name)]
        short |= {name: len(intervals)} if len(intervals) < len(audits) else {}
        if not intervals:
            continue
        mean = mean_of([Interval(i.lower, i.upper) for i in intervals])  # rounded outwards
        one_sided = mean.lower if intervals[0].certificate is Certificate.LOWER else mean.upper
        ends = _ends(audits[0].plan, name)
        values = (mean.lower, mean.upper) if len(ends) == 2 else (one_sided,)
        means |= {f"{prefix}/{end}": value for end, value in zip(ends, values, strict=True)}
    if penalised is not None and f"{prefix}/{penalised}" in means:
        means[f"{prefix}/bound"] = means[f"{prefix}/{penalised}"]
        tight = None if penalised in short else figures.tightness
        means |= {f"{prefix}/tightness": tight.lower} if tight is not None and tight.lower > 0 else {}
    means[f"{prefix}/share_exact"] = figures.share_exact
    bounded = penalised is not None and penalised not in short
    means |= {f"{prefix}/{name}": value for name, value in _scale_free(figures, bounded).items()}
    means |= {f"{prefix}/{name}_points": float(count) for name, count in short.items()}
    finite = {name: value for name, value in means.items() if abs(value) != float("inf")}
    return outward(finite, *_one_sided(audits[0].plan, prefix))


def _has_mean(audit: PointAudit, label: str) -> bool:
    """Whether a method's interval at a point enters its mean: upper ends that were not cut short, lower ends that time was
    left for, searches that ran."""
    if label == COMBINED:
        return True
    certificate, interval = audit.plan.method(label).certificate, audit.intervals[label]
    if certificate is Certificate.BRACKET:
        return audit.searched(label)
    return not interval.status.cut or (certificate is Certificate.LOWER and interval.witness is not None)


def _one_sided(plan: AuditPlan, prefix: str) -> tuple[list[str], list[str]]:
    """The names of upper ends and of lower ends whose names do not say it."""
    sides: tuple[list[str], list[str]] = (["bound", "calibrated_bound"], [*_LOWER])
    for label, method in plan.methods().items():
        sides[method.certificate is Certificate.LOWER].append(label)
    return tuple([f"{prefix}/{name}" for name in names] for names in sides)  # type: ignore[return-value]


def _figures(audits: Sequence[PointAudit], penalised: str | None, calibration: CalibrationRecord | None) -> RunFigures:
    """The figures of tables and pages, of this audit alone."""
    records = tuple(r for audit in audits for r in audit.records("", 0))
    calibrations = () if calibration is None else (replace(calibration, epoch=0),)
    side = Side("", RecordedRun(RunRecord(""), records, calibrations=calibrations), penalised or COMBINED, {}, {})
    (figures,) = side.trajectory
    return figures


def _scale_free(figures: RunFigures, bounded: bool) -> dict[str, float]:
    """The values of ``SCALE_FREE``, ``CALIBRATED`` and, where there is a bound, the calibrated one, as far as defined."""
    ends = {
        "margin_over_constant": figures.margin_over_constant and figures.margin_over_constant.lower,
        "certified_lower": figures.certified and figures.certified.lower,
        "certified_upper": figures.certified and figures.certified.upper,
        "certified_closed": figures.certified_closed,
        "attacked": figures.attacked,
        "calibration": figures.calibration and figures.calibration.factor,
        "calibrated_lower": figures.calibrated and figures.calibrated.lower,
        "calibrated_upper": figures.calibrated and figures.calibrated.upper,
        "calibrated_bound": figures.calibrated_bound if bounded else None,
    }
    return {name: float(value) for name, value in ends.items() if value is not None}


def _ends(plan: AuditPlan, label: str) -> tuple[str, ...]:
    """The names under which an interval is logged: both ends of the combined one and of a search, one of every other's."""
    both = label == COMBINED or plan.method(label).certificate is Certificate.BRACKET
    return (f"{label}_lower", f"{label}_upper") if both else (label,)


def metric_names(
    plan: AuditPlan, penalised: str | None, twin: bool, prefix: str, classes: bool = True, calibrated: bool = True
) -> tuple[str, ...]:
    """Every name under which an audit may have a number: those of ``summary``, and with a twin those of ``Twin.compared``.

    The numbers of points are not among them: they are logged only where something was cut short.

    Args:
        plan: the plan of the audit.
        penalised: label of the penalised bound, if there is one.
        twin: whether movement and transfer against a twin are logged.
        prefix: first part of the names.
        classes: whether reference points have classes.
        calibrated: whether outputs are calibrated.
    """
    names = [*_ends(plan, COMBINED), "share_exact", *(end for label in plan.methods() for end in _ends(plan, label))]
    names += [*_of_classes(plan), *(["attacked"] if plan.attack is not None else [])] if classes else []
    names += [*CALIBRATED] if calibrated else []
    if penalised is not None:
        names += ["bound", "tightness", *(["calibrated_bound"] if calibrated else [])]
    for of in ("", *(["calibrated_"] if calibrated else [])) if twin else ():
        names += [f"{of}movement_lower", f"{of}movement_upper"]
        if penalised is not None:
            names += [f"{of}{name}" for name in ("bound_movement", "transfer", "transfer_lower", "transfer_upper")]
    return tuple(f"{prefix}/{name}" for name in names)


def _of_classes(plan: AuditPlan) -> list[str]:
    """The names of margins and certified shares, as far as the question bounds all margins of a point."""
    margins, shares = margins_told(plan.problem.describe())
    told = {"margin": margins, "certified": shares}
    return [name for name in SCALE_FREE if told.get(name.partition("_")[0])]
