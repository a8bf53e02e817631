"""Which question a method answers in place of one whose norms it does not cover; see ``norm_equivalence``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lipreg.linalg import norm_name
from lipreg.problem import LocalLipschitz

IN_NORM = "@l"
"""Stands between the name of a method and the norm in which it is to be evaluated."""

Refusal = tuple[str, str]
"""The part of a question that is not covered, and what is covered instead."""


def name_in(name: str, norm: float) -> str:
    """The name of a method evaluated in a norm, whatever those of the question are."""
    return f"{name}{IN_NORM}{norm_name(norm)}"


def nearest_norm(norms: Sequence[float], p: float) -> float:
    """The norm of some in which least is lost on inputs measured in p, by equivalence of norms: p, if it is one of them."""
    lost = {norm: (max(0.0, 1.0 / norm - 1.0 / p), abs(1.0 / norm - 1.0 / p)) for norm in norms}
    return min(lost, key=lost.__getitem__)


def question_in(
    problem: LocalLipschitz,
    norm: float,
    output_norms: Sequence[float],
    uncovered: Callable[[LocalLipschitz], Refusal | None],
) -> tuple[LocalLipschitz | None, Refusal | None]:
    """A question with inputs measured in a norm: with its own q where it is covered so, else with the first q that is.

    Args:
        problem: the question.
        norm: in place of its p.
        output_norms: the norms q that the method covers.
        uncovered: the part of a question that the method does not cover; None for a question that it covers.

    Returns:
        The question and None, or None and the refusal of the first.
    """
    refusal = None
    for q in (None,) if problem.q is None else dict.fromkeys((problem.q, norm, *output_norms)):
        question = replace(problem, p=norm, q=q)
        refused = uncovered(question)
        if refused is None:
            return question, None
        refusal = refusal or refused
    return None, refusal
