"""check_estimator: whether an estimator keeps what it declares of itself, on tiny networks whose constants are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, Estimator, get_estimator
from lipreg.testing import (
    aligned,
    degenerate,
    gradients,
    invariance,
    layered,
    repeating,
    search_limits,
    soundness,
    unbounded,
)
from lipreg.testing.failures import aspects_of, attempt, expect
from lipreg.testing.judged import EstimatorUnderTest
from lipreg.testing.questions import NORMS, SCOPES, Questions

ASPECTS: dict[str, Callable[[EstimatorUnderTest], None]] = {
    "repeats": repeating.repeats,
    "truth": soundness.truth,
    "all of R^n": unbounded.all_of_space,
    "one piece": soundness.one_piece,
    "aligned layers": aligned.aligned_layers,
    "larger networks": soundness.larger_networks,
    "no budget": search_limits.no_budget,
    "limits": search_limits.limits,
    "what is known": search_limits.prior_bounds,
    "refusals": soundness.refusals,
    "scopes": invariance.scopes,
    "nesting": invariance.nesting,
    "units": invariance.units,
    "batch": invariance.batch,
    "images": invariance.images,
    "single precision": invariance.single_precision,
    "gradients": gradients.gradients,
    "dead gradients": gradients.dead_gradients,
    "closed form": gradients.closed_form,
    "factors": layered.factors,
    "cancelled units": degenerate.cancelled_units,
    "kinks on the border": degenerate.kinks_on_the_border,
    "constant networks": degenerate.constant_networks,
}
"""What is checked of an estimator, one after the other; those of bounds leave searches alone, and the other way round."""


def check_estimator(
    estimator: str | Estimator,
    *,
    seed: int = 0,
    aspects: Iterable[str] | None = None,
    questions: Questions | None = None,
    budget: Budget | float = 60.0,
) -> None:
    """Checks that a registered estimator keeps what its class attributes declare.

    It answers questions about chains, branches, max pools, leaky ReLUs, batch norm and convolutions, as far as it declares
    them, in all its scopes, norms and outputs, over balls, boxes and polytopes, cut and uncut. Every upper end has to hold
    the exact constant (``exact_constants``), every slope between sampled points of larger networks, and that of
    layers that all stretch one direction, so that no product of norms claims a norm of inputs or outputs too many; every
    lower end has to be attained, and what does not matter must not matter: the order and number of points, units of layers,
    logits and inputs, the shape of images, float32 weights. What it does not declare it must refuse. A bound that can be
    a penalty has the gradient of its value, and its closed form the value of its graph.

    Args:
        estimator: its name, or the registered estimator itself; ``"name@l2"`` too.
        seed: which questions are drawn of the grid, and which weights.
        aspects: the names of some checks (``ASPECTS``); None for all of them.
        questions: drawn before, with their truths; None draws them by the seed.
        budget: of each question, for searches.

    Raises:
        CheckFailed: it does not; the text names network, question and numbers.
        InvalidInput: it is not registered, or there is no such aspect.

    Example:
        >>> check_estimator("fastlip", aspects=["one piece"])
    """
    name = estimator if isinstance(estimator, str) else getattr(estimator, "name", type(estimator).__name__)
    if not isinstance(estimator, str) and ESTIMATORS.get(name) is not estimator:
        todo = 'Put @register("...") above the class, and give the name'
        got = f"a {type(estimator).__name__} that is not registered as {name!r}"
        raise InvalidInput(got, where="check_estimator", todo=todo)
    method = get_estimator(name)
    _check_declared(name, method)
    judged = EstimatorUnderTest(name, method, questions or Questions(seed), Budget.of(budget, "check_estimator"))
    with attempt(name):
        _ = judged.nets  # what it declares of networks
    expect(judged.declared_scopes_and_norms, f"{name} covers no question: scopes {method.scopes}, norms {method.norms}")
    for aspect in aspects_of(aspects, ASPECTS, "check_estimator"):
        with attempt(f"{name}, {aspect}"):
            ASPECTS[aspect](judged)


def _check_declared(name: str, method: Estimator) -> None:
    """Its attributes are tuples, of scopes and norms that there are."""
    numbers = tuple(NORMS.values())
    for attribute, known in {"scopes": SCOPES, "norms": numbers, "output_norms": numbers, "kinds": ()}.items():
        declared: Any = getattr(method, attribute)
        here = f"{name}: {attribute} = {declared!r}"
        example = f"{attribute} = ({declared!r},)"
        expect(
            isinstance(declared, tuple), f"{here}, a {type(declared).__name__}; a tuple is wanted, such as {example}"
        )
        for each in declared if known else ():
            expect(each in known, f"{here}, of which {each!r} is none of {', '.join(map(repr, known))}")
