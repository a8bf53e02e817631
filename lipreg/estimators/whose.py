"""Whose a method is, in errors about proofs that contradict each other: lipreg's, or your own, which can be checked."""

from __future__ import annotations

from collections.abc import Iterable

from lipreg.errors import PLEASE_REPORT, CrossingBounds
from lipreg.options import Named


def is_own(method: Named) -> bool:
    """Whether a method is not of lipreg."""
    return not type(_written(method)).__module__.startswith("lipreg.")


def whose(label: str, method: Named | None) -> str:
    """A method's label, with its class where that is not of lipreg: "'mine' (package.Mine, not of lipreg)".

    Args:
        label: what the user calls it.
        method: the method; None where it is not known.
    """
    if method is None or not is_own(method):
        return repr(label)
    kind = type(_written(method))
    return f"{label!r} ({kind.__module__}.{kind.__qualname__}, not of lipreg)"


def what_to_check(methods: Iterable[Named]) -> str:
    """What to do about a contradiction between these methods: who has written one checks that first."""
    own = list(dict.fromkeys(_written(method).name for method in methods if is_own(method)))
    if not own:
        return PLEASE_REPORT
    calls = " and ".join(f"lipreg.testing.check_estimator({name!r})" for name in own)
    return f"One of the two proofs is wrong. Check what is not of lipreg first: {calls}"


def _written(method: Named) -> Named:
    """The method that somebody has written: itself, or the one that it evaluates in another norm."""
    inner = getattr(method, "method", None)
    return inner if isinstance(inner, Named) else method


def within(method: Named, error: CrossingBounds, known: bool) -> CrossingBounds:
    """The error of a contradiction that came up within a method, with the method's name.

    Args:
        method: the method.
        error: which says what crosses.
        known: whether the method started from what others had proved, which takes part in its ends.
    """
    started = ", started from what was known before" if known else ""
    where = ": ".join(filter(None, [f"estimator {whose(method.name, method)}{started}", error.where]))
    todo = what_to_check([method]) if is_own(method) else error.todo
    return CrossingBounds(error.got, where=where, accepted=error.accepted, todo=todo, between=error.between)
