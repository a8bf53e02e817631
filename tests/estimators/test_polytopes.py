"""Exact constants over polytopes: against the enumeration of all activation cells cut by the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lipreg import AllLogits, Box, LinfBall, LocalLipschitz, Polytope, certify, estimate
from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.folding import unstable_units
from lipreg.milp import interior_point, tighten
from lipreg.results import Certificate, Status
from tests import oracles
from tests.conformance.questions import sampled
from tests.oracles import Domain

BUDGET = Budget(600.0)


def case(seed: int, size: int, faces: int, through: bool) -> tuple[Polytope, torch.Tensor, Domain]:
    """Random faces about a point, the first of them through it where ``through`` is set, in the cube [-1, 1]^n."""
    rng = np.random.default_rng(seed)
    x0 = rng.uniform(-0.2, 0.2, size)
    rows = rng.normal(size=(faces, size))
    levels = rows @ x0 + rng.uniform(0.1, 0.6, faces) * np.linalg.norm(rows, axis=1)
    if through:
        levels[0] = rows[0] @ x0
    region = Polytope(rows, levels, low=-1.0, high=1.0)
    domain = Domain(x0, np.full(size, -1.0), np.full(size, 1.0), rows=rows, levels=levels)
    return region, torch.tensor(x0).unsqueeze(0), domain


CASES = [
    pytest.param(name, p, through, id=f"{name}-{p:g}-{'on_a_face' if through else 'inside'}")
    for turn, name in enumerate(("deep", "solid", "leaky", "residual"))
    for place, p in enumerate((1.0, math.inf))
    for k, through in enumerate((False, True))
    if sampled(2, turn, place, k)
]


@pytest.mark.parametrize(("name", "p", "through"), CASES)
def test_both_exact_constants_are_those_of_the_enumeration(name: str, p: float, through: bool) -> None:
    net = oracles.network(name, 3)
    region, x, domain = case(sum(map(ord, name)), oracles.input_size(net), 4, through)
    rows = np.eye(oracles.evaluate(net, x.numpy()).shape[1])
    cells = oracles.cells(net, domain)
    regional = oracles.regional(cells, rows, p, None)
    at = oracles.candidates(cells, domain, p)
    pointed = float(oracles.quotients(net, domain, at, rows, p, None).max())
    a, b = domain.facets()
    for scope, engine, truth in (("regional", "mip", regional), ("pointed", "mip_pointed", pointed)):
        problem = LocalLipschitz(region, AllLogits(), scope, p)  # type: ignore[arg-type]
        (result,) = certify(net, problem, x, estimator=engine, budget=BUDGET)
        assert result.certificate is Certificate.EXACT, result
        assert result.lower <= truth * (1 + 1e-8) and result.upper >= truth * (1 - 1e-8)
        assert result.lower == pytest.approx(truth, rel=2e-5)
        assert result.witness is not None
        assert (a @ (np.array(result.witness.point) - domain.center) <= b + 1e-12).all()
        for other in ("fastlip", "affine_relu", *(["lp"] if scope == "regional" else [])):
            (above,) = certify(net, problem, x, estimator=other)
            assert above.upper >= truth * (1 - 1e-8)


def test_the_rows_count_and_not_their_box_alone() -> None:
    """A steep kink in a corner of the box that a slanted face cuts off."""
    net = oracles.mlp(2, 1, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 1.0]]))
        net[0].bias.fill_(-1.5)
        net[2].weight.fill_(1.0)
        net[2].bias.zero_()
    x = torch.zeros(1, 2, dtype=torch.float64)
    corner, cut = Box(-1.0, 1.0), Polytope([[1.0, 1.0]], [1.4], -1.0, 1.0)
    for engine in ("mip", "lp"):
        assert certify(net, LocalLipschitz(corner, AllLogits()), x, estimator=engine)[0].upper == pytest.approx(2.0)
    assert certify(net, LocalLipschitz(cut, AllLogits()), x)[0].upper == pytest.approx(0.0, abs=1e-9)
    # pre-activations are first bounded over the box; linear programs over the rows decide the unit
    local = frozen_analysis(net, LocalLipschitz(cut, AllLogits()), x, None)
    assert int(local.unstable_units()) == 1 and int(tighten(local, Budget(600.0)).unstable_units()) == 0
    assert interior_point(local, unstable_units(local), np.ones(1), Budget()) is None
    # closed-form bounds know the box alone: those of the box, which holds the polytope
    wide = estimate(net, LocalLipschitz(corner, AllLogits()), x, bound="fastlip")
    torch.testing.assert_close(estimate(net, LocalLipschitz(cut, AllLogits()), x, bound="fastlip"), wide)


@pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])
def test_a_ball_written_as_a_polytope_is_the_ball(p: float) -> None:
    """The same question in two notations, and in a third: carried along with the point."""
    net = oracles.network("solid", 1)
    x = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    eye = np.eye(3)
    faces = np.vstack([eye, -eye])
    levels = np.concatenate([x[0].numpy() + 0.5, 0.5 - x[0].numpy()])
    regions = (LinfBall(0.5), Polytope(faces, levels), Polytope(faces, np.full(6, 0.5), relative=True))
    for scope, engine in (("regional", "mip"), ("pointed", "mip_pointed")):
        found = [
            certify(net, LocalLipschitz(r, AllLogits(), scope, p), x, estimator=engine)[0]  # type: ignore[arg-type]
            for r in regions
        ]
        assert {f.status for f in found} <= {Status.PROVED, Status.UNCONFIRMED}
        assert [f.upper for f in found] == pytest.approx([found[0].upper] * 3, rel=1e-5)


def test_a_penalty_is_differentiable_and_batched() -> None:
    net = oracles.network("deep").float()
    region = Polytope([[1.0, 1.0]], [1.0], -1.0, 1.0)
    bounds = estimate(net, LocalLipschitz(region, AllLogits()), 0.2 * torch.rand(16, 2))
    bounds.sum().backward()
    assert bounds.shape == (16,) and bounds.dtype == torch.float32
    assert all(torch.isfinite(w.grad).all() for w in net.parameters() if w.grad is not None)
