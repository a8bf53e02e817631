"""Calibrated constants, T * E: what a unit of output means is taken out before two networks are compared.

A penalty that divides all logits by 100 divides the constant by 100 and multiplies T by 100: nothing has moved. T is
fitted to points, so it has a standard error, and what moved by less than two of them may not have moved at all. Both T are
fitted to the same points, so that of their ratio is taken from the differences at each: outputs that were merely divided
have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from lipreg.records import CalibrationRecord
from lipreg.transfer.movement import Movement
from lipreg.transfer.ratios import Interval, scaled, transfer
from lipreg.words import counted

ERRORS = 2.0
"""A difference of fewer standard errors than these is taken for noise."""
NOT_CALIBRATED = "no record tells what their outputs mean"


@dataclass(frozen=True)
class CalibratedMovement:
    """How far the calibrated constant moved from the twin's, in the geometric mean over points.

    Attributes:
        movement: of T * E and T * B; transfer is log of the one over log of the other. Its note says why something is
            undefined.
        noise: the relative standard error of the ratio of the two factors T.
        worse: in what the regularised network is worse, by more than two standard errors: sentences without a full stop.
            A smaller calibrated constant counts only where there are none.
    """

    movement: Movement
    noise: float = 0.0
    worse: tuple[str, ...] = field(default=())

    @cached_property
    def with_noise(self) -> Movement:
        """The movement, its constant and its transfer widened by an error of T of ``ERRORS`` standard errors.

        An error u of log T moves transfer to (log E + u) / (log B + u), which has no extremes between its ends.
        """
        movement = self.movement
        if movement.combined is None or not self.noise:
            return movement
        off = [math.exp(sign * ERRORS * self.noise) for sign in (-1, 1)]
        moved = [scaled(movement.combined, factor) for factor in off]
        combined = Interval(moved[0].lower, moved[1].upper)
        if movement.transfer is None or movement.bound is None:
            return replace(movement, combined=combined)
        bounds = [scaled(Interval(movement.bound, movement.bound), factor) for factor in off]
        shares = [transfer(one, bound)[0] for one, bound in zip(moved, bounds, strict=True)]
        ends = [Interval(-math.inf, math.inf) if share is None else share for share in shares]
        share = Interval(min(end.lower for end in ends), max(end.upper for end in ends))
        return replace(movement, combined=combined, transfer=share)


def calibrated_movement(
    raw: Movement,
    mine: CalibrationRecord | None,
    twin: CalibrationRecord | None,
    first: str = "the regularised run",
) -> CalibratedMovement:
    """The movement of the calibrated constants, from that of the raw ones and both calibrations.

    Args:
        raw: the movement of the constants as they are.
        mine, twin: the calibrations; None where no record tells one.
        first: what ``mine`` is of, in words.

    Returns:
        The movement, without figures where a factor is undefined or the two were calibrated with other points or targets,
        and without a transfer where the bound moved by less than ``ERRORS`` standard errors of the factors' ratio.
    """
    why = _why_undefined(mine, twin, first)
    if mine is None or twin is None or mine.factor is None or twin.factor is None or why:
        return CalibratedMovement(Movement(raw.points, None, None, None, why), 0.0, _worse(mine, twin))
    factor, noise = Fraction(mine.factor) / Fraction(twin.factor), _noise(mine, twin)
    if raw.combined is None or raw.bound is None:
        combined = None if raw.combined is None else scaled(raw.combined, factor)
        return CalibratedMovement(replace(raw, combined=combined), noise, _worse(mine, twin))
    combined, bound = scaled(raw.combined, factor), scaled(Interval(raw.bound, raw.bound), factor)
    share, note = transfer(combined, bound)
    if share is not None and abs(math.log(bound.midpoint)) < ERRORS * noise:
        share, note = (
            None,
            f"the bound moved to {bound.midpoint:.3g} of the twin's, within the noise of T ({noise:.1%})",
        )
    skipped = raw.note if raw.transfer is not None else ""
    calibrated = Movement(
        raw.points, combined, bound.midpoint, share, "; ".join(part for part in (note, skipped) if part)
    )
    return CalibratedMovement(calibrated, noise, _worse(mine, twin))


def _noise(mine: CalibrationRecord, twin: CalibrationRecord) -> float:
    """The relative standard error of T_mine / T_twin."""
    pairs = list(zip(mine.influences, twin.influences, strict=False))
    if len(pairs) < max(len(mine.influences), len(twin.influences), 1):
        return math.hypot(mine.error, twin.error)
    return math.sqrt(math.fsum((one - two) ** 2 for one, two in pairs))


def _why_undefined(mine: CalibrationRecord | None, twin: CalibrationRecord | None, first: str) -> str:
    if mine is None and twin is None:
        return NOT_CALIBRATED
    undefined: dict[tuple[str, str], list[str]] = {}  # a reason that both have is told once
    for record, whose in ((mine, first), (twin, "the twin")):
        if record is None:
            return f"no record tells what the outputs of {whose} mean"
        if record.factor is None:
            undefined.setdefault((record.task, record.why), []).append(whose)
    assert mine is not None and twin is not None
    if undefined:
        return "; ".join(f"{_without_factor(task, whose)}: {why}" for (task, why), whose in undefined.items())
    if (mine.task, mine.reference) != (twin.task, twin.reference) or not mine.reference:
        return "the two were calibrated with other points or targets"
    return ""


def _without_factor(task: str, whose: Sequence[str]) -> str:
    """What is undefined of some runs without a factor, in words: a regression has no T but two scales."""
    if task == "values":
        return f"constants of {' and of '.join(whose)} in standard deviations are undefined"
    return f"T of {' and of '.join(whose)} is undefined"


def _worse(mine: CalibrationRecord | None, twin: CalibrationRecord | None) -> tuple[str, ...]:
    """In what ``mine`` is worse by more than two standard errors of the difference, as of two independent sets of points."""
    if mine is None or twin is None or (mine.task, mine.reference) != (twin.task, twin.reference):
        return ()
    sentences, over = [], f", over {counted(mine.points, 'point')} not audited"
    if mine.accuracy is not None and twin.accuracy is not None:
        spread = math.hypot(*(math.sqrt(a * (1 - a) / max(mine.points, 1)) for a in (mine.accuracy, twin.accuracy)))
        if mine.accuracy < twin.accuracy - ERRORS * spread:
            sentences.append(f"its accuracy is {mine.accuracy:.1%}, the twin's {twin.accuracy:.1%}{over}")
    if mine.loss is not None and twin.loss is not None:
        if mine.loss > twin.loss + ERRORS * math.hypot(mine.loss_error or 0.0, twin.loss_error or 0.0):
            what = "relative squared error" if mine.task == "values" else "calibrated NLL"
            sentences.append(f"its {what} is {mine.loss:.3g}, the twin's {twin.loss:.3g}{'' if sentences else over}")
    elif mine.factor is None and twin.factor is not None:
        sentences.append(f"its factor T is undefined ({mine.why})")
    return tuple(sentences)
