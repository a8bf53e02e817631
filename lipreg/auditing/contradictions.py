"""Proofs at one reference point that contradict each other: which methods they are of, and whose these are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lipreg.auditing.tasks import Contradiction
from lipreg.errors import CrossingBounds
from lipreg.estimators import Estimator
from lipreg.estimators.whose import what_to_check, whose
from lipreg.records import COMBINED
from lipreg.results import CertifiedInterval
from lipreg.words import numbered

Labelled = tuple[str, CertifiedInterval]


def contradiction(point: int, proved: Iterable[Labelled], methods: Mapping[str, Estimator]) -> CrossingBounds:
    """The error that names the two methods whose ends cross most at a point, with both ends.

    Args:
        point: its index.
        proved: what was proved there, by the labels of methods; one label may come several times.
        methods: by their labels.
    """
    parts = sorted(proved, key=lambda part: part[0] == COMBINED)  # of equal ends, those that have a method of their own
    (seen, low), (bounding, high) = max(parts, key=lambda part: part[1].lower), min(parts, key=lambda p: p[1].upper)
    by = f", by {high.proof}" if high.proof and high.proof != bounding else ""
    return CrossingBounds(
        f"lower {low.lower:.12g} exceeds upper {high.upper:.12g}: a witness of {_named(seen, methods)} attains the one, "
        f"and {_named(bounding, methods)} proves the other{by}",
        where=f"point {point}, {low.functional}",
        todo=what_to_check(methods[label] for label in (seen, bounding) if label in methods),
        between=(low, high),
    )


def while_running(
    event: Contradiction, before: Mapping[str, CertifiedInterval], methods: Mapping[str, Estimator]
) -> CrossingBounds:
    """The error of a contradiction within one method, with what others had proved there, from which it may have started.

    Args:
        event: which says what crosses.
        before: what was proved at the only point of the task before, by the labels of methods; empty where it had several.
        methods: by their labels.
    """
    error, task = event.error, event.task
    parts = {name: part for name, part in before.items() if name != COMBINED}
    seen = [
        f"a witness of {_named(name, methods)} attained {part.lower:.12g}"
        for name, part in parts.items()
        if part.lower > 0
    ]
    bounds = [f"{_named(name, methods)} proved at most {part.upper:.12g}" for name, part in parts.items() if part.proof]
    known = "; ".join(seen + bounds)
    return CrossingBounds(
        f"{error.got}. Proved there before: {known}" if known else error.got,
        where=": ".join(filter(None, [numbered("point", range(task.first, task.end)), error.where])),
        todo=what_to_check(methods[name] for name in dict.fromkeys((event.estimator, *parts)) if name in methods),
        between=error.between,
    )


def _named(label: str, methods: Mapping[str, Estimator]) -> str:
    return "all methods together, earlier," if label == COMBINED else whose(label, methods.get(label))
