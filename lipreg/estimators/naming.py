"""Names of proofs: a bound has the name of its recipe, with a mark where something was left out of it."""

from __future__ import annotations

from collections.abc import Sequence

from lipreg.bounds import METHODS
from lipreg.records.endings import CUT

ALL = "all"
"""As pre-activation methods: every one of ``METHODS``, intersected."""


def recipe_name(estimator: str, methods: Sequence[str] | str, own: Sequence[str] | str) -> str:
    """The name of an estimator that works from other pre-activation bounds than its own: with their methods behind it.

    Args:
        estimator: the estimator's name.
        methods: the pre-activation methods of the bounds, or "all".
        own: those that the estimator has by default, or "all".
    """
    if isinstance(methods, str) or set(methods) == set(METHODS):
        methods = ALL
    suffixes = [] if methods == own else [methods] if isinstance(methods, str) else methods
    return "-".join((estimator, *suffixes))


def cut_name(name: str) -> str:
    """The name of a bound of which something was left out: its number is not the one that its recipe stands for."""
    return name if is_cut(name) else f"{name}{CUT}"


def is_cut(name: str) -> bool:
    """Whether something was left out of the bound of this name."""
    return name.endswith(CUT)
