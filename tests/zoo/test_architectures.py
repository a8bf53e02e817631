"""Networks in the shape of known architectures are penalised, bounded and certified."""

from __future__ import annotations

import pytest
import torch

import lipreg
from lipreg.estimators import ESTIMATORS
from lipreg.estimators.radius import certified_radii
from lipreg.graph import capture
from tests.zoo.architectures import ZOO
from tests.zoo.test_zoo import built, points

CLOSED_FORMS = ("affine_relu", "spectral", "jacobian_crown", "fastlip", "abs_chain")


@pytest.mark.parametrize("name", ZOO)
def test_it_is_penalised_bounded_and_certified(name: str) -> None:
    network, x = built(ZOO[name]), points(ZOO[name], 1)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.02), lipreg.AllMargins())
    with torch.no_grad():
        outputs = network.eval()(x)
    y = outputs.argmax(1)
    graph = capture(network, x).frozen()
    bounds = lipreg.estimate(network, problem, x, y)
    bounds.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.dim() > 1)
    sampled = [found.lower for found in lipreg.certify(network, problem, x, y, estimator="random_points", budget=5)]
    for form in CLOSED_FORMS:
        if ESTIMATORS[form].uncovered(problem, graph) is None:
            found = lipreg.certify(graph, problem, x, y, estimator=form, budget=20)
            assert all(f.upper >= low for f, low in zip(found, sampled, strict=True)), form
    few = None if outputs.shape[1] < 10 else "affine_relu"  # at every rival of every pixel others take seconds
    radii = certified_radii(network, x, y, bounds=few, largest=1.0, p="inf")
    generator = torch.Generator().manual_seed(1)
    for found, point, label in zip(radii, x, y, strict=True):
        assert found.radius > 0
        moves = found.radius * (2 * torch.rand(256, *point.shape, generator=generator, dtype=x.dtype) - 1).sign()
        assert (network(point + moves).argmax(1) == label).all()
