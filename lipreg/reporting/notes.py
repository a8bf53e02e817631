"""The notes below a comparison: which figures rescaling changes, what T is, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lipreg.records import CalibrationRecord
from lipreg.records.endings import CUT, Ending, ending_lines
from lipreg.reporting.rows import VALUES, calibrated_name, closed_by, task
from lipreg.reporting.wording import epochs, nearest, which_weights
from lipreg.transfer import Comparison, RunFigures
from lipreg.transfer.radius import radius_in_units, radius_meaning
from lipreg.transfer.sides import CUT_STATUSES
from lipreg.words import capitalised, counted, listed, plain, shortened, written

WHICH = (
    "Divide all logits of a network by 100, and it decides as before: scale-free figures stay what they are, while bound, "
    "LP relaxation and exact constant are 100 times smaller."
)
"""The sentence on which figures rescaling changes."""
WHICH_VALUES = (
    "Constants in standard deviations do not depend on the units of inputs and targets; bound, LP relaxation and exact "
    "constant as they are do."
)
"""The same of regression."""

_SINGLE = ("AllLogits", "Logit", "Vector")  # functionals of outputs that are no differences


def which(*sides: RunFigures) -> list[str]:
    """The sentence on which figures rescaling changes; none where no record tells what the outputs mean."""
    task_name = task(*sides)
    if task_name == VALUES:
        return [WHICH_VALUES]
    return [WHICH] if task_name or sides[0].accuracy is not None else []


def notes(comparison: Comparison) -> list[str]:
    """The notes that a reader of the table needs, one sentence each."""
    mine, twin = comparison.regularised, comparison.twin
    points = mine.points
    means = f"Means over {counted(len(points), 'reference point')}"
    means += "" if comparison.epoch is None else f" after {epochs(comparison.epoch)}"
    texts = calibration_notes(dict(zip(comparison.roles, (mine.calibration, twin.calibration), strict=True)))
    texts += unsettled(mine)
    texts += share_notes((mine, twin))
    texts += budget_notes((mine, twin))
    texts.append(f"{means}; tightness, movement and transfer are geometric means of the ratios at each point.")
    if mine.calibrated is not None and twin.calibrated is not None:
        texts.append(
            f"The ratio beside '{calibrated_name(task(mine, twin))}' is its movement; those of bound, LP relaxation and "
            "combined are of the two means beside them."
        )
    texts += which_weights(points, mine.metric is not None)
    if comparison.left_out:
        omitted = f"point{'s' * (len(comparison.left_out) != 1)} {', '.join(map(str, comparison.left_out))}"
        texts.append(f"Left out, not audited in both runs: {omitted}.")
    if comparison.radius_points:
        one = comparison.radius_points == 1
        of = "is that of the one point that is" if one else f"averages the {comparison.radius_points} points that are"
        texts.append(
            f"The radius holds {radius_meaning(points[0].record)}; it {of} classified rightly in both runs, and is cut "
            "to the radius of the region."
        )
    if (mine.rank_correlation, twin.rank_correlation) != (None, None):
        audited = {epoch for of_run in comparison.audited for epoch in of_run}
        over = " and epochs, not those of this epoch alone" if len(audited) > 1 else ""
        over += (
            "; the untrained network is among them" if over and 0 in audited and comparison.epoch is not None else ""
        )
        texts.append(f"The rank correlation is Spearman's, of bound and combined over all audited points{over}.")
    return texts


def calibration_notes(calibrations: dict[str, CalibrationRecord | None]) -> list[str]:
    """The notes on what T is, or in which standard deviations constants are, by role; why it is undefined, where it is."""
    undefined = {role: why for role, record in calibrations.items() if (why := why_undefined(record))}
    return _defined_calibrations(calibrations) + [f"{capitalised(why)} ({role})." for role, why in undefined.items()]


def why_undefined(record: CalibrationRecord | None) -> str:
    """What is undefined where T is, and why, in words; empty where it is defined, or no record tells."""
    if record is None or record.factor is not None or not record.why:
        return ""
    what = "constants in standard deviations are" if record.task == VALUES else "T is"
    return f"{what} undefined: {plain(record.why, 200)}"


def _defined_calibrations(calibrations: dict[str, CalibrationRecord | None]) -> list[str]:
    defined = {
        role: record for role, record in calibrations.items() if record is not None and record.factor is not None
    }
    if not defined:
        return []
    record = next(iter(defined.values()))
    over = f"{counted(record.points, 'point')} that {'is' if record.points == 1 else 'are'} not audited"
    if record.task == VALUES:
        scales = nearest(record.input_scale), nearest(record.target_scale)
        return [
            f"In standard deviations: times {scales[0]}, the norm of those of the inputs, over {scales[1]}, that of the "
            f"targets, over {over}: a step of 1 is as long as one of a deviation in every input at once."
        ]
    factors = ", ".join(
        f"{nearest(r.factor)} ({role}; standard error {r.error:.1%}, NLL {nearest(r.loss)})"
        for role, r in defined.items()
    )
    return [
        f"T is the factor on the outputs that makes the mean negative log-likelihood of {over} smallest: {factors}."
    ]


def unsettled(figures: RunFigures) -> list[str]:
    """The note that a shift of all logits changes the constants; none for functionals of differences of logits."""
    record = figures.points[0].record
    output = record.question.get("output", {})
    differences = output.get("kind") not in _SINGLE and not math.fsum(output.get("weights", ()))
    if record.correct is None or differences:
        return []
    return [
        "These constants are not of differences of logits: one function of the input added to all logits changes them, "
        "and no decision. No normalisation here takes that out; constants of margins (AllMargins) do not change."
    ]


def share_notes(sides: Sequence[RunFigures]) -> list[str]:
    """The notes on what margins over constants and certified shares mean, where there are any."""
    tried = [side.attacked is not None for side in sides]
    if all(side.margin_over_constant is None for side in sides):
        share = "Under attack: the share of the points whose class is right and for which a search by gradients (PGD)"
        sentences = [f"{share} found no other class in the region, which is no proof."] if any(tried) else []
        return [*sentences, *_missing(sides)]
    question = sides[0].points[0].record.question
    far, units = radius_in_units(question), "of scale" if "scale" in question else "of the input"
    radius = "" if far is None else f", {written(far)}"
    texts = [
        f"Margin over constant is a distance in units {units}, 0 where the class is wrong: no point so near has "
        f"another class, as far as the audited region reaches{radius}."
    ]
    if any(side.certified is not None for side in sides):
        names = list(dict.fromkeys(_shown(name) for side in sides for name in closed_by(side)))
        by = f" (without a search, by {plain(listed(names), 120)})" if names else ""
        under = (
            "under attack: a search by gradients found none, which is no proof" if any(tried) else "no attack was tried"
        )
        texts.append(f"Certified: proved to have no point of another class in the whole region{by}; {under}.")
    return texts + _missing(sides)


def _shown(name: str) -> str:
    """A proof's name among others: what says that it was cut short is in brackets."""
    return f"{name.removesuffix(CUT)} (cut)" if name.endswith(CUT) else name


def budget_notes(sides: Sequence[RunFigures]) -> list[str]:
    """The notes on what the budget left out of each method, a sentence a run; none where it left out nothing.

    They also say whose number stands in the place of a method's, and how many points have no upper end.
    """
    texts = []
    for side in sides:
        lines = ending_lines([Ending.of_records(point.methods) for point in side.points], named=True)
        without = sum(point.combined.upper == math.inf for point in side.points)
        lines += [f"without an upper end: {counted(without, 'point')}"] if without else []
        if lines:
            texts.append(f"Left out of the audit of {shortened(side.run, 40)}: {plain('; '.join(lines), 1000)}.")
    return texts


def _missing(sides: Sequence[RunFigures]) -> list[str]:
    """The notes on scale-free figures that one run lacks and the other has, and what adds them."""
    reads: dict[str, Callable[[RunFigures], object]] = {
        "calibration": lambda side: side.calibration,
        "attack": lambda side: side.attacked,
        "class": lambda side: side.accuracy,
    }
    texts = []
    for side in sides:
        lacks = [
            name
            for name, read in reads.items()
            if read(side) is None and any(read(other) is not None for other in sides)
        ]
        if lacks:
            lack = f"The records of {shortened(side.run, 40)} tell of no {' and no '.join(lacks)}"
            adds = "an audit by this version, with labels and data to calibrate with, adds"
            if lacks == ["attack"] and any(point.record.status in CUT_STATUSES for point in side.points):
                adds = "an audit whose budget has time for it, or one by this version, adds"
            texts.append(f"{lack}: {adds} what is n/a here.")
    return texts


def doubts(comparison: Comparison) -> list[str]:
    """The reasons why the movement may not be the penalty's alone, one sentence each; none for a twin in the full sense."""
    course = comparison.likeness.course
    changed = [f"The penalty was changed on the way, and the movement is of all of it: {course}"] if course else []
    return [f"{plain(doubt)}." for doubt in (*comparison.likeness.doubts, *changed)]
