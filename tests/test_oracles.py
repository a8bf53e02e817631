"""The references check each other before they judge the library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from tests import oracles
from tests.oracles import Domain

MULTI = [name for name in oracles.ZOO if not name.startswith("line")]


def domain_of(net: nn.Module, kind: str) -> Domain:
    center = np.linspace(-0.2, 0.3, oracles.input_size(net))
    if kind == "box":
        return Domain(center, center - 0.9, center + 0.6)
    return Domain(center, center - 0.9, center + 0.9, 1.0 if kind == "l1" else 2.0, 0.9)


@pytest.mark.parametrize("kind", ["box", "l1", "l2"])
@pytest.mark.parametrize("name", MULTI)
def test_cells_hold_every_jacobian_that_sampling_meets(name: str, kind: str) -> None:
    net = oracles.network(name)
    domain = domain_of(net, kind)
    found = oracles.cells(net, domain)
    matrices = np.stack([cell.matrix for cell in found])
    for d in domain.sample(60, np.random.default_rng(5)):
        own = oracles.jacobian(net, domain.points(d[None])[0])
        assert np.abs(matrices - own).max((1, 2)).min() < 1e-9


@pytest.mark.parametrize("name", MULTI)
def test_each_cell_is_a_linear_piece_with_room(name: str) -> None:
    """Cells overlap nowhere and their Jacobian is autograd's at an interior point found by another solver."""
    net = oracles.network(name)
    domain = domain_of(net, "box")
    for cell in oracles.cells(net, domain):
        size = np.linalg.norm(cell.a, axis=1)
        solved = linprog(
            np.append(np.zeros(cell.a.shape[1]), -1.0),
            A_ub=np.hstack([cell.a, size[:, None]]),
            b_ub=cell.b,
            bounds=[(None, None)] * cell.a.shape[1] + [(None, 1.0)],
        )
        assert solved.x[-1] > 0.9 * oracles.INTERIOR
        own = oracles.jacobian(net, domain.points(solved.x[None, :-1])[0])
        np.testing.assert_allclose(cell.matrix, own, atol=1e-9)


@pytest.mark.parametrize("q", [1, 2, math.inf])
@pytest.mark.parametrize("name", ["line", "line_deep"])
def test_breakpoints_agree_with_cells_and_vertices(name: str, q: float) -> None:
    net = oracles.network(name)
    domain = Domain(np.array([0.1]), np.array([-1.4]), np.array([1.1]))
    steepest, quotient = oracles.segments(net, domain, None, q)
    found = oracles.cells(net, domain)
    assert oracles.regional(found, None, 1, q) == pytest.approx(steepest, rel=1e-9)
    at = oracles.candidates(found, domain, math.inf)
    assert oracles.quotients(net, domain, at, None, math.inf, q).max() == pytest.approx(quotient, rel=1e-9)


@pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])
@pytest.mark.parametrize("name", ["shallow", "solid", "leaky", "residual"])
def test_vertices_hold_the_largest_quotient(name: str, p: float) -> None:
    net = oracles.network(name)
    domain = domain_of(net, "l1" if p == 1 else "box")
    rows = np.array([[1.0, -1.0, *[0.0] * (oracles.evaluate(net, domain.center[None]).shape[1] - 2)]])
    found = oracles.cells(net, domain)
    largest = float(oracles.quotients(net, domain, oracles.candidates(found, domain, p), rows, p, None).max())
    assert oracles.sampled_pointed(net, domain, rows, p, None) <= largest * (1 + 1e-9)
    assert largest <= oracles.regional(found, rows, p, None) * (1 + 1e-9)
    # a climb from the best vertex finds nothing above it
    best = oracles.candidates(found, domain, p)
    best = best[oracles.quotients(net, domain, best, rows, p, None).argmax()]
    near = best + 0.05 * np.random.default_rng(0).normal(size=(3000, len(best)))
    inside = ((near >= domain.lower) & (near <= domain.upper)).all(1)
    inside &= np.linalg.norm(near - domain.center, domain.norm, axis=1) <= domain.radius
    if inside.any():
        assert oracles.quotients(net, domain, near[inside], rows, p, None).max() <= largest * (1 + 1e-9)


def test_operator_norms_are_attained_by_no_random_vector_and_approached_by_many() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(3, 3))
    v = rng.normal(size=(20000, 3))
    for p in (1.0, 2.0, math.inf):
        for q in (1.0, 2.0, math.inf):
            tried = np.linalg.norm(v @ matrix.T, q, axis=1) / np.linalg.norm(v, p, axis=1)
            largest = oracles.operator_norm(matrix, p, q)
            assert 0.95 * largest <= tried.max() <= largest * (1 + 1e-12), (p, q)


def test_the_networks_are_small_and_not_trivial() -> None:
    for name in oracles.ZOO:
        net = oracles.network(name)
        widths = [m.out_features for m in net.modules() if isinstance(m, nn.Linear)]
        assert max(widths) <= 5
        x = torch.randn(200, oracles.input_size(net), dtype=torch.float64)
        assert net(x).std() > 0.05, name
