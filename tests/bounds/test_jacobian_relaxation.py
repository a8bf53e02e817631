"""Linear bounds on the Jacobian against all linear pieces, against secant products, and against their own formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lipreg.bounds import Analysis, interval_jacobian, linear_jacobian
from lipreg.bounds.jacobian_relaxation import bound_forms, relax_product
from lipreg.budget import Budget
from lipreg.estimators import Bound, estimate, frozen_analysis
from lipreg.estimators.witnesses.witness import attained
from lipreg.outputs import AllLogits, Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from tests import oracles
from tests.bounds.test_jacobian import _secants
from tests.conformance.questions import NORMS, REGIONS, Question, domain, sampled

each_net = pytest.mark.parametrize("net", oracles.ZOO)
each_norm = pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)
ends = st.floats(-3.0, 3.0)


def analysis_of(question: Question) -> Analysis:
    return frozen_analysis(question.module, question.problem, question.x, None)


@given(low=ends, width=st.floats(0.0, 4.0), least=st.floats(0.0, 1.0), more=st.floats(0.0, 1.0))
def test_lines_hold_every_product_and_touch_it(low: float, width: float, least: float, more: float) -> None:
    high, most = low + width, least + more * (1.0 - least)
    numbers = [torch.tensor([v], dtype=torch.float64) for v in (low, high, least, most)]
    lines = relax_product(*numbers)
    g = torch.linspace(low, high, 21, dtype=torch.float64)
    above, below = lines.upper_slope * g + lines.upper_offset, lines.lower_slope * g + lines.lower_offset
    for d in torch.linspace(least, most, 5, dtype=torch.float64):
        assert (below <= d * g + 1e-12).all() and (d * g <= above + 1e-12).all()
    largest, smallest = torch.maximum(least * g, most * g), torch.minimum(least * g, most * g)
    for at in (0, -1):  # no line that is lower at both ends could hold
        torch.testing.assert_close(above[at], largest[at], rtol=0.0, atol=1e-12)
        torch.testing.assert_close(below[at], smallest[at], rtol=0.0, atol=1e-12)


@each_net
def test_every_piece_lies_within_its_entries_norms_and_forms(net: str) -> None:
    generator = torch.Generator().manual_seed(5)
    turn = list(oracles.ZOO).index(net)
    asked = itertools.product(enumerate(REGIONS), enumerate(NORMS.values()))
    for region, p in ((region, p) for (place, region), (k, p) in asked if sampled(6, turn, place, k)):
        question = Question(net, region, "regional", p, "all_logits")
        analysis = analysis_of(question)
        found, (low, high) = linear_jacobian(analysis), interval_jacobian(analysis)[0]
        assert (found.lower >= low - 1e-12).all() and (found.upper <= high + 1e-12).all()
        norms = found.row_norms()
        forms = torch.randn(1, 1, 3, *analysis.graph.input_shape, generator=generator, dtype=torch.float64)
        forms = forms.expand(*low.shape[:2], *forms.shape[2:])
        above = bound_forms(analysis, found.lines, 0, forms)
        for i, x0 in enumerate(question.x.numpy()):
            where = domain(region, x0)
            for cell in oracles.cells(question.module, where):
                piece, free = torch.from_numpy(cell.matrix), torch.from_numpy(where.free)
                assert (found.lower[i][:, free] - 1e-9 <= piece).all() and (
                    piece <= found.upper[i][:, free] + 1e-9
                ).all()
                size = torch.linalg.vector_norm(piece, question.problem.dual, dim=1)
                assert (size <= norms[i] + 1e-9).all(), str(question)
                if len(free) == len(x0):
                    assert (forms[i] @ piece.unsqueeze(-1)).squeeze(-1).sub(above[i]).amax() <= 1e-9, str(question)


@each_net
def test_every_product_of_secants_lies_within_the_pointed_entries(net: str) -> None:
    rng = np.random.default_rng(2)
    for region in REGIONS:
        question = Question(net, region, "pointed", 1.0, "all_logits")
        found = linear_jacobian(analysis_of(question))
        for i, x0 in enumerate(question.x.numpy()):
            where = domain(region, x0)
            for d in where.sample(40, rng)[:6]:
                x = where.points(d[None])
                slopes = _secants(question.module, x0, x[0])
                matrix, _ = oracles.affine_forms(question.module, where, slopes)[-1]
                assert (found.lower[i].numpy()[:, where.free] - 1e-8 <= matrix).all(), region
                assert (matrix <= found.upper[i].numpy()[:, where.free] + 1e-8).all(), region


class Pooled(nn.Module):
    """A convolution with max pooling, a residual branch over it, and a second pool."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.pool, self.end = nn.MaxPool2d(2), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.pool(self.a(x)))
        return self.end(self.pool(h + torch.relu(self.b(h))).flatten(1))


@each_norm
@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_convolutions_pools_and_branches(scope: str, p: float) -> None:
    """Every sampled point attains less; and most of the bound is not lost where many units are open."""
    torch.manual_seed(3)
    net, x = Pooled().double(), torch.rand(2, 1, 8, 8, dtype=torch.float64)
    for radius in (0.02, 0.1, 0.5):
        problem = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0), AllLogits(), scope, p)  # type: ignore[arg-type]
        analysis = frozen_analysis(net, problem, x, None)
        bound = linear_jacobian(analysis).row_norms().amax(-1)
        low, high = interval_jacobian(analysis)[0]
        assert (bound <= analysis.placed.combine(torch.maximum(low.abs(), high.abs())) * (1 + 1e-12)).all()
        points = analysis.placed.region.sample(300, torch.Generator().manual_seed(0))
        seen = attained(analysis, points).amax(1)
        assert (seen <= bound * (1 + 1e-9)).all() and (seen > 0).all()


def test_parts_of_a_pass_are_the_whole_and_what_is_not_kept_has_its_intervals() -> None:
    question = Question("deep", "linf", "regional", 2.0, "all_logits")
    analysis = analysis_of(question)
    whole, (low, high) = linear_jacobian(analysis), interval_jacobian(analysis)[0]
    assert (whole.upper < high - 1e-6).any(), "the example needs an entry that forms bound better"
    parts = linear_jacobian(analysis_of(question), Budget(math.inf, memory=1))  # made once for an analysis
    torch.testing.assert_close(parts.lower, whole.lower, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(parts.row_norms(), whole.row_norms(), rtol=1e-13, atol=1e-13)
    crowded = analysis_of(question)
    crowded.memory = 0
    kept = linear_jacobian(crowded)
    assert torch.equal(kept.lower, low) and torch.equal(kept.upper, high) and kept.left_out == ""


def test_paths_that_cancel_are_seen() -> None:
    """relu(relu(x + 3) - relu(x + 4) + 1) on |x| <= 1: both paths of x carry the gradient of the last unit, with + and -.

    Interval pre-activations leave that unit open, so intervals give the paths [0, 1] and [-1, 0], which add up to [-1, 1].
    """
    net = oracles.mlp(1, 2, 1, 1).double()
    with torch.no_grad():
        for layer, weight, bias in (
            (net[0], [[1.0], [1.0]], [3.0, 4.0]),
            (net[2], [[1.0, -1.0]], [1.0]),
            (net[4], [[1.0]], [0.0]),
        ):
            layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    problem, x = LocalLipschitz(LinfBall(1.0), Logit(0)), torch.zeros(1, 1, dtype=torch.float64)
    found = {
        name: estimate(net, problem, x, bound=Bound(name, ["interval"], "exact"))
        for name in ("fastlip", "jacobian_crown")
    }
    assert {name: bound.item() for name, bound in found.items()} == {"fastlip": 1.0, "jacobian_crown": 0.0}


@each_norm
@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_its_gradient_is_that_of_finite_differences(scope: str, p: float) -> None:
    torch.manual_seed(1)
    net = oracles.mlp(3, 6, 5, 2).double()
    x = torch.rand(2, 3, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.3), AllLogits(), scope, p)  # type: ignore[arg-type]
    weights = [m.weight for m in net if isinstance(m, nn.Linear)]
    gradients = torch.autograd.grad(estimate(net, problem, x, bound="jacobian_crown").sum(), weights)
    step = 1e-6
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        values = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                weight.add_(sign * step * direction)
                values.append(estimate(net, problem, x, bound="jacobian_crown").sum().item())
                weight.sub_(sign * step * direction)
        slope = (values[0] - values[1]) / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4, abs=1e-7)
