"""The papers' own numbers for convolutional networks: reproduced from the same bounds, never exceeded by any of ours.

Avant & Morgansen 2023, for their trained MNIST and CIFAR-10 networks: the whole output in l2 against the nominal image, by
the affine-ReLU bound with ball pre-activations and converged spectral norms. Ours lie above by the certificates' width.
"""

from __future__ import annotations

import functools

import pytest
import torch

from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS
from lipreg.graph import Graph, capture
from lipreg.outputs import Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball
from tests.avant import trained
from tests.conformance.questions import EVERYTHING

GLOBAL = {"mnist": 103956.93, "cifar10": 18338.42}
LOCAL = {
    ("mnist", 0.001): 361.52028,
    ("mnist", 0.1): 1011.9187,
    ("mnist", 1.0): 38332.876,
    ("mnist", 10.0): 94176.731,
    ("cifar10", 0.001): 752.93429,
    ("cifar10", 0.1): 10947.365,
    ("cifar10", 1.0): 16379.687,
}
GRADIENT = {"mnist": 45.5, "cifar10": 16.4}
"""Norm of the Jacobian at the image, a lower bound for every radius."""
PRINTED = 1e-7
"""The reference values have eight digits."""


@functools.cache
def network(name: str) -> tuple[Graph, torch.Tensor]:
    net, x = trained(name)
    return capture(net, x).frozen(), x


def analysed(name: str, radius: float, methods: tuple[str, ...] | None) -> Analysis:
    graph, x = network(name)
    problem = LocalLipschitz(L2Ball(radius), Vector(), scope="pointed", p=2)
    with torch.no_grad():
        return analyse(graph, problem.place(x, graph(x)), methods)


@pytest.mark.parametrize("name", GLOBAL)
def test_the_global_bound_is_the_papers(name: str) -> None:
    (found,) = ESTIMATORS["spectral"].intervals(analysed(name, 0.001, ("interval",)), Budget())
    assert GLOBAL[name] * (1 - PRINTED) <= found.upper <= GLOBAL[name] * (1 + 1e-4)
    assert "spectral norms by Lanczos" in found.detail and "failure probability" in found.detail


@pytest.mark.parametrize(("name", "radius"), LOCAL)
def test_the_local_bound_is_the_papers(name: str, radius: float) -> None:
    (found,) = ESTIMATORS["affine_relu"].intervals(analysed(name, radius, ("ball",)), Budget())
    own = LOCAL[name, radius]
    assert own * (1 - PRINTED) <= found.upper <= own * (1 + 1e-4)


INTERSECTED = [("mnist", 0.001), ("mnist", 0.1)] + (
    [("mnist", 1.0), ("mnist", 10.0), ("cifar10", 0.001)] if EVERYTHING else []
)


@pytest.mark.parametrize(("name", "radius"), INTERSECTED)
def test_intersected_bounds_are_never_above(name: str, radius: float) -> None:
    """Between the gradient at the image and the papers' bound, and tight where the region is small."""
    analysis = analysed(name, radius, None)
    (found,) = ESTIMATORS["affine_relu"].intervals(analysis, Budget())
    assert GRADIENT[name] <= found.upper <= LOCAL[name, radius] * (1 + 1e-4)
    if radius <= 0.1:
        (ours,) = ESTIMATORS["deviation"].intervals(analysis, Budget())
        assert GRADIENT[name] * (1 - 1e-3) <= ours.upper <= found.upper
        if radius == 0.001:
            assert ours.upper <= 3 * GRADIENT[name]


def test_a_hundredth_is_within_a_factor_of_two() -> None:
    (ours,) = ESTIMATORS["deviation"].intervals(analysed("mnist", 0.01, None), Budget())
    assert GRADIENT["mnist"] * (1 - 1e-3) <= ours.upper <= 2 * GRADIENT["mnist"]
