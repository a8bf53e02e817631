"""What a method proves in several rounds or runs, and all methods together: whose words stand beside a number."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from lipreg.estimators.usual import LIMITED
from lipreg.records.endings import EARLIER, LEFT_OUT, NOT_BEGUN
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.words import sentences


def begins_earlier(interval: CertifiedInterval) -> bool:
    """Whether a run before this one proved something there, and left it unfinished: what it left out does not count."""
    proves = interval.lower > 0.0 or interval.upper < math.inf
    return proves and interval.detail.startswith(EARLIER) and not interval.detail.endswith(LEFT_OUT)


def joined_interval(
    before: CertifiedInterval | None, interval: CertifiedInterval, certificate: Certificate
) -> CertifiedInterval:
    """What a method has proved by now, from its earlier rounds and runs and its last one.

    A bound that is done replaces one that was cut short: the number of that may be another method's, which stood in for it.
    Else it is the intersection, with the status and the words of the last round, but where the number is not from there:
    what an earlier run proved keeps its own, and a search that was not begun again keeps the words of the one that ran.

    Args:
        before: what was proved before; None for nothing.
        interval: of the last round.
        certificate: what the method proves.

    Raises:
        CrossingBounds: the two contradict each other.
    """
    if before is None:
        return interval
    both = before.intersect(interval)
    if certificate is Certificate.UPPER and before.status.cut and not interval.status.cut:
        return interval
    detail, status = interval.detail or both.detail, interval.status
    if both.status is Status.PROVED:
        status = Status.PROVED
    elif not _is_kept(before, interval, certificate):
        pass
    elif status is Status.FAILED:
        detail = sentences(detail, "Its ends are of an earlier run") if begins_earlier(before) else detail
    elif begins_earlier(before) or certificate is Certificate.LOWER:
        detail, status = before.detail, before.status
    elif NOT_BEGUN in detail:
        detail = before.detail
    return replace(both, status=status, detail=detail, estimate=interval.estimate)


def _is_kept(before: CertifiedInterval, interval: CertifiedInterval, certificate: Certificate) -> bool:
    """Whether the end that a method is run for is the one of before, and so are the words that tell how it came about."""
    if certificate is Certificate.LOWER:
        return before.lower > interval.lower
    idle = NOT_BEGUN in interval.detail and NOT_BEGUN not in before.detail
    return interval.status.cut and (before.upper < interval.upper or (idle and before.upper == interval.upper))


def together(
    parts: Mapping[str, CertifiedInterval], before: CertifiedInterval, engines: Collection[str]
) -> CertifiedInterval:
    """The intersection of what all methods prove: anew, so that it does not depend on the order of rounds.

    The status of an interval that is not exact is that of the last search of both ends that a limit ended, or else of
    the last bound that one did, with those that were left out last of all; time in place of memory where any method had too
    little of it. Where no limit ended anything, a FAILED one becomes BOUNDED: what the others prove is proved all the same.

    Args:
        parts: the intervals by the methods' labels.
        before: what they proved together before: its ends stay proved, whatever has replaced them in a part.
        engines: the labels of the methods that search for both ends.

    Raises:
        CrossingBounds: the parts contradict each other.
    """
    proved = CertifiedInterval(before.problem, before.functional, subject=before.subject)
    for part in parts.values():
        proved = proved.intersect(part)
    replaced = before.upper < proved.upper
    proved = proved.intersect(before)
    ends = {n for n, part in parts.items() if part.certificate is not Certificate.LOWER or part.detail in LEFT_OUT}
    ends = ends or {n for n, part in parts.items() if part.witness is None}  # of a plan of witnesses alone
    limited = [name for name in parts if name in ends and parts[name].status in LIMITED]
    if proved.certificate is Certificate.EXACT or not (limited or replaced or proved.status is Status.FAILED):
        return proved
    if not limited:
        return replace(proved, status=Status.BOUNDED)
    in_order = sorted(limited, key=lambda name: (parts[name].detail not in LEFT_OUT, name in engines))
    last = parts[in_order[-1]]
    late = [parts[name] for name in in_order if parts[name].status is Status.TIME_LIMIT]
    if last.status is Status.MEMORY_LIMIT and late:
        last = replace(last, status=Status.TIME_LIMIT, detail=sentences(late[-1].detail, last.detail))
    return replace(proved, status=last.status, detail=last.detail)
