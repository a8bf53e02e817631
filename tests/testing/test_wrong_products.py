"""Products of matrix norms that claim a norm, a q or a scope too many are found, and what is true passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.estimators import ESTIMATORS, BoundEstimator, register
from lipreg.estimators.products.spectral import layer_product, ones
from lipreg.graph import Affine
from lipreg.testing import CheckFailed, Questions, check_estimator
from tests.sampling import one_in

MATRIX_NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "spectral": lambda map: torch.linalg.matrix_norm(map, ord=2),
    "frobenius": lambda map: map.norm(),
    "l1": lambda map: map.abs().sum(0).amax(),
    "linf": lambda map: map.abs().sum(1).amax(),
    "entry": lambda map: map.abs().amax(),
    "sums": lambda map: map.sum(1).abs().amax(),
}
CLAIMS = [(1.0, q) for q in (None, 1.0, 2.0, math.inf)]
CLAIMS += [(2.0, q) for q in (None, 1.0, 2.0, math.inf)]
CLAIMS += [(math.inf, q) for q in (None, 1.0, math.inf)]
"""p and q of an operator norm; q is None for a logit."""


def of_all(norm: str, p: float, q: float | None) -> bool:
    """Whether the product of these norms of all maps bounds |J|_{p->q}."""
    match norm:
        case "spectral" | "frobenius":
            return p <= 2 and q in (None, 2, math.inf)
        case "l1":
            return p == 1
        case "linf":
            return q in (None, math.inf)
    return False


def before_the_last(norm: str, p: float) -> bool:
    """Whether these norms of all maps but the last, whose own is right, make a bound."""
    return p in {"spectral": (2.0,), "frobenius": (2.0,), "l1": (1.0,), "linf": (math.inf,)}.get(norm, ())


def _claim(p: float, q: float | None, bound: Callable[[Analysis], Tensor], **more: Any) -> None:
    given = {"norms": (p,), "vector": q is not None, "output_norms": () if q is None else (q,), **more}
    given["bound"] = lambda self, analysis: bound(analysis).expand(analysis.placed.batch)
    register("claims")(type("Claims", (BoundEstimator,), given))


def _checked(right: bool, *aspects: str, seed: int = 0) -> None:
    if right:
        return check_estimator("claims", aspects=aspects, seed=seed)
    with pytest.raises(CheckFailed, match=r"chain of .*the upper end is below the slope"):
        check_estimator("claims", aspects=aspects, seed=seed)


@pytest.mark.parametrize(("p", "q"), CLAIMS)
@pytest.mark.parametrize("norm", MATRIX_NORMS)
@one_in(4)
def test_a_product_over_all_layers(norm: str, p: float, q: float | None) -> None:
    def bound(analysis: Analysis) -> Tensor:
        affine = [node for node in analysis.graph.nodes if isinstance(node, Affine)]
        return math.prod(
            (MATRIX_NORMS[norm](map.dense()) for node in affine for _, map in node.terms()),
            start=torch.ones(1, dtype=torch.float64),
        )

    _claim(p, q, bound)
    _checked(of_all(norm, p, q), "aligned layers")


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("norm", MATRIX_NORMS)
def test_a_product_with_the_functional_folded_in(norm: str, p: float) -> None:
    def bound(analysis: Analysis) -> Tensor:
        return layer_product(analysis, *ones(analysis), lambda map, rows, columns: MATRIX_NORMS[norm](map.dense()))[0]

    _claim(p, None, bound)
    _checked(before_the_last(norm, p), "aligned layers")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_norm_beside_a_right_one(seed: int) -> None:
    frobenius: Any = MATRIX_NORMS["frobenius"]
    _claim(
        2.0,
        None,
        lambda a: layer_product(a, *ones(a), lambda map, r, c: frobenius(map.dense()))[0],
        norms=(2.0, math.inf),
    )
    _checked(False, "aligned layers", seed=seed)


def test_a_pointed_bound_that_claims_the_regional_scope() -> None:
    def bound(analysis: Analysis) -> Tensor:
        placed = analysis.placed
        fastlip: Any = ESTIMATORS["fastlip"]
        return fastlip.bound(analysis.for_question(replace(placed, problem=replace(placed.problem, scope="pointed"))))

    many = Questions(one_in=8)
    few = replace(many, one_in=24)  # with the same truths
    for p in (1.0, 2.0, math.inf):
        _claim(p, None, bound)
        with pytest.raises(CheckFailed, match=r"regional constant of .*the upper end is below the constant"):
            check_estimator("claims", aspects=["truth"], questions=many)
        del ESTIMATORS["claims"]
        _claim(p, None, bound, scopes=("pointed",))
        check_estimator("claims", aspects=["truth"], questions=few)
