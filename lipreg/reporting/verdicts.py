"""The verdict on a regulariser: never more than the certified intervals and the noise of the calibration support."""

from __future__ import annotations

import math

from lipreg.reporting.rows import VALUES, task
from lipreg.reporting.wording import between, distance, epochs, nearest, percent_between, share_between
from lipreg.results import Status
from lipreg.transfer import CalibratedMovement, Comparison, Interval, Movement
from lipreg.transfer.incomplete import listed_epochs
from lipreg.words import shortened_apart

HOW = "LipschitzAudit records it, by validation data or log=AuditLog(calibration=(x, y)); compare takes calibration=(x, y)"
"""The advice on what adds a calibration."""

_EQUAL = 0.05  # transfer, or a logarithm of a movement, within this of 0 or 1 is called "nothing" or "all of it"
_SIZE = (
    0.1  # of the raw movement, in logarithms: where no more than this is left when outputs are calibrated, it was size
)
_NO_RECORD = "no record tells"  # begins the note of what was not calibrated
_SHORT = {"regularised": "reg", "network": "network"}
"""Subscripts of the constants of the first of two, by what it is called."""
BUDGET = "A larger audit budget narrows the interval"
SEARCH = (
    "No method ran out of time: what narrows the interval is a search that ends, such as those of the usual estimators "
    "(audit=exact in the programs)"
)
"""What would narrow a certified interval."""
_UNDEFINED_T = "its factor T"  # what ``CalibratedMovement.worse`` and its note both tell


def movement_lines(comparison: Comparison) -> list[str]:
    """The lines on margin over constant, movement, bound movement and transfer: calibrated, then as the constants are."""
    moved, ratio = comparison.calibrated, comparison.margin_ratio
    lines = [] if not _says(ratio) else [f"margin over constant (median): {between(ratio)} of the twin's"]
    if moved.movement.combined is None:
        lines.append(f"{_unit(comparison) or 'calibrated'}: undefined")
    else:
        factor = "" if _of_values(comparison) else f", T x constant{noise(moved)}"
        lines += [f"{_unit(comparison)}{factor}:", *_moved(comparison, moved.movement, moved.with_noise.transfer)]
    if _of_values(comparison) and moved.movement.combined is not None:
        return [*lines, "as they are: the same, because inputs and targets are"]
    too = (
        "dividing all outputs by a number moves these too"
        if of_classes(comparison)
        else "in units of inputs and outputs"
    )
    moved_raw = _moved(comparison, comparison.movement, comparison.movement.transfer)
    return [*lines, f"as they are ({too}):", *moved_raw]


def noise(moved: CalibratedMovement) -> str:
    """The standard error of the ratio of the two T, in brackets; empty where nothing was fitted."""
    return f" (noise of T: {moved.noise:.1%})" if moved.noise > 0 else ""


def judgement(comparison: Comparison) -> str:
    """The verdict on a regulariser, and at which epoch, where that is not the last that was audited of both runs.

    There is none where the untrained networks alone are compared.
    """
    epoch = comparison.epoch
    if epoch is None or (comparison.at_the_end and not comparison.untrained):
        return verdict(comparison)
    mine, twin = map(listed_epochs, comparison.audited)
    names = shortened_apart([figures.run for figures in (comparison.regularised, comparison.twin)], 40)
    audited = f"{names[0]!r} was audited after {mine}; its twin {names[1]!r} after {twin}."
    if comparison.untrained:
        return f"No verdict: the untrained networks are compared, which no penalty has moved. {audited}"
    return f"After {epochs(epoch)}, which is not the end: {verdict(comparison)} {audited}"


def verdict(comparison: Comparison) -> str:
    """The verdict by calibrated movement and transfer; where they are undefined why, and that by the constants as they are.

    A smaller calibrated constant of a network that is worse does not count, and the verdict says so first.
    """
    moved, raw = comparison.calibrated, comparison.movement
    widened = moved.with_noise.combined
    if widened is None:
        worse = [what for what in moved.worse if not what.startswith(_UNDEFINED_T)]
        addition = f" The network is worse: {'; '.join(worse)}." if worse else ""
        if raw.combined is None:
            return f"{transfer_verdict(raw, _narrower(comparison))}{addition}"
        ratio, how = comparison.margin_ratio, f" ({HOW})" if moved.movement.note.startswith(_NO_RECORD) else ""
        head = f"Movement {_unit(comparison)}" if _unit(comparison) else "Calibrated movement"
        head = f"{head} is undefined, as {moved.movement.note}{how}.{addition}"
        if _is_one(ratio) and _least(raw.combined) > _EQUAL:
            return (
                f"{head} Relative to the margins nothing moved: the margin over constant, which needs no T, is "
                f"{between(ratio)} of the twin's, while the raw constant is {between(raw.combined)} of the twin's"
                f"{_certified(comparison)}."
            )
        head += (
            f" The margin over constant, which needs no T, is {between(ratio)} of the twin's." if _says(ratio) else ""
        )
        units = "which dividing all outputs moves too" if of_classes(comparison) else "in units of inputs and outputs"
        return f"{head} The constants as they are, {units}: {transfer_verdict(raw, _narrower(comparison))}"
    core = _calibrated(comparison, widened)
    if not moved.worse:
        return core
    worse = "; ".join(moved.worse)
    if widened.lower >= 1:
        return f"{core} And the network is worse: {worse}."
    return f"A smaller constant does not count here, because the network is worse: {worse}. {core}"


def transfer_verdict(movement: Movement, narrower: str = SEARCH) -> str:
    """The verdict by the transfer interval of the constants as they are, in a sentence.

    Args:
        movement: the movement.
        narrower: what would narrow its interval.
    """
    if movement.transfer is None or movement.bound is None:
        return f"Transfer is undefined: {movement.note}."
    return _transferred(movement.transfer, movement.bound, "bound", "exact constant", narrower)


def _calibrated(comparison: Comparison, movement: Interval) -> str:
    """The verdict by the calibrated constants; ``movement`` is theirs, widened by the noise of T."""
    moved, raw = comparison.calibrated, comparison.movement
    calibrated = moved.movement
    assert calibrated.combined is not None
    of_twin = f"{between(calibrated.combined)} of the twin's{noise(moved)}"
    low, high = _logarithm(movement.lower), _logarithm(movement.upper)
    most, size = max(abs(low), abs(high)), 0.0 if raw.combined is None else _least(raw.combined)
    kind = "" if _of_values(comparison) else "calibrated "
    still = low <= 0 <= high and _SIZE * size >= most
    if kind and raw.combined is not None and still and _EQUAL < size < math.inf:
        both = f"the raw constant is {between(raw.combined)} of the twin's, "
        both += f"the calibrated one {between(calibrated.combined)}{noise(moved)}"
        against = _against_rescaling(comparison)
        if against:
            return f"The calibrated constant stayed: {both}. But {against}."
        return f"Rescaled: {both}: what moved is the size of the outputs, not what the network tells apart."
    share = moved.with_noise.transfer
    names = f"{kind}bound", f"{kind or 'exact '}constant"
    if share is not None and calibrated.bound is not None and calibrated.transfer is not None:
        narrower = _narrower(comparison)
        noisy = share != calibrated.transfer and not (calibrated.transfer.lower <= 0 < calibrated.transfer.upper)
        return f"{_transferred(share, calibrated.bound, *names, narrower, noisy=noisy)} The {names[1]} is {of_twin}."
    if high < 0 or low > 0:
        went = "fell" if high < 0 else "rose"
        return f"The {names[1]} {went}: it is {of_twin}. Transfer is undefined: {calibrated.note}."
    if most <= _EQUAL:
        return f"The {names[1]} stayed: it is {of_twin}. Transfer is undefined: {calibrated.note}."
    return (
        f"Not decided: the {names[1]} is {of_twin}, which does not show on which side of the twin's it lies. "
        f"Transfer is undefined: {calibrated.note}."
    )


def _narrower(comparison: Comparison) -> str:
    """What would narrow the certified intervals: more time where time was short, else a search."""
    points = [*comparison.regularised.points, *comparison.twin.points]
    statuses = {record.status for point in points for record in (point.record, *point.methods)}
    return BUDGET if statuses & {Status.TIME_LIMIT, Status.INTERRUPTED} else SEARCH


def _transferred(share: Interval, bound: float, name: str, truth: str, narrower: str, noisy: bool = False) -> str:
    """The verdict by a transfer interval.

    Args:
        share: the interval.
        bound: the bound's movement.
        name, truth: the names of bound and constant.
        narrower: what would narrow certified intervals.
        noisy: whether the noise of T has widened the interval.
    """
    bound_went, truth_against = ("fell", "rose") if bound < 1 else ("rose", "fell")
    if share.lower >= -_EQUAL and share.upper <= _EQUAL:
        return f"Only the bound moved: the {name} {bound_went}, and the {truth} stayed."
    if share.upper < 0:
        return f"The truth went the other way: the {name} {bound_went}, and the {truth} {truth_against}."
    if share.lower <= 0:
        most = (
            f" At most {_share_at_most(share.upper)} of the bound's movement reached it." if 0 < share.upper < 1 else ""
        )
        limit = "the noise of T does" if noisy else "the certified intervals do"
        advice = "More points to calibrate with make T better known" if noisy else narrower
        return (
            f"Not decided: the {name} {bound_went}, but {limit} not show on which side of the twin's the {truth} lies."
            f"{most} {advice}."
        )
    if share.lower >= 1 - _EQUAL and share.upper <= 1 + _EQUAL:
        return f"The truth moved with the bound: both {bound_went}, by about the same factor."
    if share.lower >= 1:
        return f"The truth moved further than the bound: both {bound_went}, the {truth} by the larger factor."
    if share.upper <= 1:
        part = f"{_share_at_least(share.lower)} to {_share_at_most(share.upper)}"
        return (
            f"Part of the movement is real: the {name} {bound_went}, and {part} of that, measured in logarithms, "
            f"is found in the {truth}."
        )
    return (
        f"The truth moved in the same direction: both {bound_went}, the {truth} by at least "
        f"{_share_at_least(share.lower)} of the bound's movement in logarithms."
    )


def of_classes(comparison: Comparison) -> bool:
    """Whether the records say that the networks classify."""
    sides = comparison.regularised, comparison.twin
    return not _of_values(comparison) and bool(task(*sides) or any(side.accuracy is not None for side in sides))


def _against_rescaling(comparison: Comparison) -> str:
    """The clause on what else moved beside the size of the outputs, or may have; empty where margins and shares stayed."""
    mine, twin, ratio = comparison.regularised, comparison.twin, comparison.margin_ratio
    margins, clauses = (mine.margin_over_constant, twin.margin_over_constant), []
    decided = False
    if not (_is_one(ratio) or None in margins or (ratio is None and margins[0] == margins[1])):
        says = _says(ratio) and ratio is not None
        clauses.append(
            f"the margin over constant is {between(ratio)} of the twin's"
            if says
            else f"the margin over constant is {distance(margins[0])}, the twin's {distance(margins[1])}"
        )
        decided = ratio is None or _least(ratio) > 0
    shares = _certified(comparison)
    if shares:
        clauses.append(shares.removeprefix(", "))
        assert mine.certified is not None and twin.certified is not None
        apart = mine.certified.upper < twin.certified.lower or twin.certified.upper < mine.certified.lower
        decided = decided or apart
    if not clauses:
        return ""
    what = "more than the size of the outputs moved"
    return f"{', and '.join(clauses)}: {what if decided else f'whether {what} is not decided'}"


def _certified(comparison: Comparison) -> str:
    """The clause on certified shares that differ, after a comma; empty where they are equal, or one is undefined."""
    mine, twin = comparison.regularised.certified, comparison.twin.certified
    if mine is None or twin is None or mine == twin:
        return ""
    return f", certified accuracy is {percent_between(mine)}, the twin's {percent_between(twin)}"


def _is_one(ratio: Interval | None) -> bool:
    """Whether a ratio is proved to be within 5 % of 1."""
    return ratio is not None and ratio.lower >= 1 - _EQUAL and ratio.upper <= 1 + _EQUAL


def _unit(comparison: Comparison) -> str:
    """The units of the calibrated movement, in words; empty where no record tells what the outputs mean."""
    if _of_values(comparison):
        return "in standard deviations of inputs and targets"
    return "per unit of calibrated output" if of_classes(comparison) else ""


def _moved(comparison: Comparison, movement: Movement, transfer: Interval | None) -> list[str]:
    """Movement, bound movement and transfer, one line each.

    Args:
        comparison: whose movement it is.
        movement: of the constants.
        transfer: theirs, widened by the noise of T.
    """
    of = _SHORT[comparison.roles[0]]
    noisy = ", as far as T is known" if transfer != movement.transfer else ""
    return [
        f"  movement of the truth (E_{of} / E_twin): {between(movement.combined)}",
        f"  movement of the bound (B_{of} / B_twin): {nearest(movement.bound)}",
        f"  transfer: {share_between(transfer)}{noisy}",
    ]


def _of_values(comparison: Comparison) -> bool:
    return task(comparison.regularised, comparison.twin) == VALUES


def _says(ratio: Interval | None) -> bool:
    """Whether an interval of ratios excludes anything."""
    return ratio is not None and ratio != Interval(0.0, math.inf)


def _logarithm(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _least(movement: Interval) -> float:
    """The least distance of a movement from 1, as a logarithm; 0 where it may be 1."""
    return max(0.0, _logarithm(movement.lower), -_logarithm(movement.upper))


def _share_at_least(value: float) -> str:
    return f"{math.floor(100 * value)}%"


def _share_at_most(value: float) -> str:
    return f"{math.ceil(100 * value)}%"
