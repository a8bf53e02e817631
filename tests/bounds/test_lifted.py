"""LipSDP's bound on networks of switches: above all that the switches can do, and the semidefinite program's value."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import Tensor

from lipreg.bounds import Exclusive, MixingVectors, Switches, lifted_bound
from lipreg.linalg import operator_norm


def switches(seed: int, count: int, sizes: tuple[int, ...], k: int, m: int) -> Switches:
    """Levels of so many switches, the last level reading c alone."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator, dtype=torch.float64)

    u, start = sum(sizes), 0
    unit_unit = torch.zeros(count, u, u, dtype=torch.float64)
    for size in sizes:
        unit_unit[:, start : start + size, start + size :] = draw(size, u - start - size) / 2
        start += size
    return Switches(unit_unit, draw(u, k), draw(m, u), draw(m, k), len(sizes))


def bound(network: Switches, absolute: bool, signs: bool, enough: float = 0.0) -> Tensor:
    count, u, k = network.unit_free.shape
    vectors = MixingVectors.start(count, u, k, torch.zeros(1))
    return lifted_bound(network, vectors, absolute, signs, enough, torch.ones(count, dtype=torch.bool)).bound


def matrices(network: Switches, a: Tensor) -> Tensor:
    """x over c where the switches stand as ``a`` ``(u,)`` says, ``(N, m, k)``."""
    u = network.unit_unit.shape[1]
    w = torch.linalg.solve(
        torch.eye(u, dtype=a.dtype) - a.unsqueeze(-1) * network.unit_unit, a.unsqueeze(-1) * network.unit_free
    )
    return network.out_unit @ w + network.out_free


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("sizes", [(), (4,), (2, 3), (2, 2, 2)])
def test_it_is_above_every_position_of_the_switches(absolute: bool, signs: bool, sizes: tuple[int, ...]) -> None:
    network = switches(len(sizes), 5, sizes, 3, 4)
    found = bound(network, absolute, signs)
    p, q = math.inf if absolute else 2.0, 1.0 if signs else 2.0
    best = torch.zeros(5, dtype=torch.float64)
    for position in itertools.product((0.0, 0.5, 1.0), repeat=sum(sizes)):
        # |J|_{p -> q} of J = matrix^T, c being the dual vector
        best = torch.maximum(
            best, operator_norm(matrices(network, torch.tensor(position, dtype=torch.float64)).mT, p, q)
        )
    assert (found >= best).all()
    assert (found <= 2.0 * best).all()
    if not sizes and not absolute and not signs:
        assert torch.allclose(found, best, rtol=1e-6)


def semidefinite(network: Switches) -> float:
    """The program itself, by a solver: the least rho."""
    p, q, r, s = (
        part[0].numpy() for part in (network.unit_unit, network.unit_free, network.out_unit, network.out_free)
    )
    k, rho, multipliers = q.shape[1], cp.Variable(), cp.Variable(len(q), nonneg=True)
    diagonal = cp.diag(multipliers)
    own = diagonal - (diagonal @ p + p.T @ diagonal) / 2
    cross = -diagonal @ q / 2
    whole = cp.bmat([[own, cross], [cross.T, rho * np.eye(k)]]) - np.hstack([r, s]).T @ np.hstack([r, s])
    cp.Problem(cp.Minimize(rho), [(whole + whole.T) / 2 >> 0]).solve(solver="CLARABEL")
    return math.sqrt(float(rho.value))  # type: ignore[arg-type]


@pytest.mark.parametrize(("sizes", "k"), [((5,), 1), ((4, 3), 2), ((3, 3, 3), 3), ((2, 5), 1)])
def test_it_is_the_value_of_the_semidefinite_program(sizes: tuple[int, ...], k: int) -> None:
    network = switches(7, 1, sizes, k, 4)
    assert float(bound(network, False, False)) == pytest.approx(semidefinite(network), rel=2e-4)


def test_it_goes_on_from_vectors_that_it_left() -> None:
    network = switches(3, 6, (4, 4), 2, 5)
    vectors = MixingVectors.start(6, 8, 2, torch.zeros(1))
    hasty = torch.zeros(6, dtype=torch.bool)
    first = lifted_bound(network, vectors, False, False, 0.0, hasty).bound
    for _ in range(20):
        later = lifted_bound(network, vectors, False, False, 0.0, hasty).bound
    assert (later <= first).all()
    assert torch.allclose(later, bound(network, False, False), rtol=2e-2)
    assert (later < 0.99 * first).any()


def test_scales_leave_as_much_to_prove() -> None:
    network = switches(5, 4, (3, 3), 2, 3)
    plain = bound(network, False, False)
    for size in (1e-8, 1e8):
        scaled = Switches(network.unit_unit, network.unit_free, network.out_unit * size, network.out_free * size, 2)
        assert torch.allclose(bound(scaled, False, False), size * plain, rtol=1e-6)
        scaled = Switches(network.unit_unit, network.unit_free * size, network.out_unit / size, network.out_free, 2)
        assert torch.allclose(bound(scaled, False, False), plain, rtol=1e-6)


@pytest.mark.parametrize(("absolute", "signs", "k"), [(True, False, 1), (False, False, 1), (False, True, 3)])
@pytest.mark.parametrize("sizes", [(4,), (2, 3)])
def test_sides_that_exclude_each_other_lower_it_to_what_is_left(
    absolute: bool, signs: bool, k: int, sizes: tuple[int, ...]
) -> None:
    network = switches(11 + k, 20, sizes, k, 4)
    count, u = 20, sum(sizes)
    generator = torch.Generator().manual_seed(0)
    units = torch.rand(count, 3, u, generator=generator).argsort(-1)[..., :2]  # two units of each pair
    pairs = units + u * torch.randint(2, units.shape, generator=generator)
    real = torch.ones(count, 3, dtype=torch.bool)
    real[::4, 2] = False
    found = []
    for exclusive in (None, Exclusive(pairs[..., 0], pairs[..., 1], real)):
        asked = replace(network, exclusive=exclusive)
        vectors = MixingVectors.start(count, u, k, torch.zeros(1))
        vectors.exclusive = None if exclusive is None else torch.zeros(count, 3)
        thorough = torch.ones(count, dtype=torch.bool)
        found.append(lifted_bound(asked, vectors, absolute, signs, 0.0, thorough).bound)
    p, q = math.inf if absolute else 2.0, 1.0 if signs else 2.0
    best = torch.zeros(count, dtype=torch.float64)
    for position in itertools.product((0.0, 1.0), repeat=u):
        a = torch.tensor(position, dtype=torch.float64)
        sides = torch.cat([a, 1.0 - a])
        allowed = ~((sides[pairs] == 1).all(-1) & real).any(-1)
        best = torch.maximum(best, torch.where(allowed, operator_norm(matrices(network, a).mT, p, q), 0.0))
    free, held = found
    proved = torch.isfinite(held)  # where multipliers prove nothing, other bounds stand
    assert (held >= best).all() and proved.double().mean() > 0.9 and (held <= free * (1 + 1e-3))[proved].all()
    assert float((held / best).median()) < 1.1 and (held < 0.95 * free).any()
