"""Few inputs: simplex steps against a solver, and searches over large boxes against enumerations and planted cells."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, certify
from lipreg.folding import fold
from lipreg.regions import Box, L1Ball, Region
from lipreg.results import Certificate
from lipreg.search.branching import BITS_PER_UNIT, by_levels
from lipreg.search.branching import _bits as bits
from lipreg.search.simplex import LARGEST, deepest, dual_simplex, duality_bound, maxima
from lipreg.testing import exact_constants
from tests import oracles
from tests.attacks.cases import Question
from tests.attacks.kinds import chain
from tests.attacks.larger import steep_cell
from tests.attacks.modules import module
from tests.attacks.oracle import Oracle, Where
from tests.conformance.questions import EVERYTHING
from tests.sampling import one_in
from tests.search.cases import analysis

NORMS = (1.0, 2.0, math.inf)


def programs(m: int, k: int, count: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Forms, and cuts of which some leave no point, some are there twice, in opposite senses, or rows of zeros."""
    generator = torch.Generator().manual_seed(m)
    cut = torch.randn(count, k, m, generator=generator, dtype=torch.float64)
    cut = cut / cut.norm(dim=-1, keepdim=True)
    level = torch.rand(count, k, generator=generator, dtype=torch.float64) * 0.8 - 0.12
    cut[:10, 1], level[:10, 1] = cut[:10, 0], level[:10, 0]
    cut[10:20, 1], level[10:20, 1] = -cut[10:20, 0], -level[10:20, 0]
    cut[20:25, 2:], level[20:25, 2:] = 0.0, 0.0
    form = torch.randn(count, m, generator=generator, dtype=torch.float64)
    return form / form.norm(dim=-1, keepdim=True), cut, level


def largest(form: Tensor, cut: Tensor, level: Tensor) -> float:
    """By a solver; -inf where it finds no point."""
    found = linprog(-form.numpy(), A_ub=-cut.numpy(), b_ub=level.numpy(), bounds=[(-1.0, 1.0)] * len(form))
    assert found.status in (0, 2)
    return -math.inf if found.status == 2 else -float(found.fun)


@pytest.mark.parametrize(("m", "k"), [(1, 4), (2, 9), (3, 20), (6, 15)])
def test_simplex_steps_end_at_the_optimum_and_prove_what_is_empty(m: int, k: int) -> None:
    form, cut, level = programs(m, k)
    node = torch.arange(len(form))
    bound, (depth, point) = maxima(form, cut, level, node), deepest(cut, level)
    truth = [largest(*one) for one in zip(form, cut, level, strict=True)]
    empty = torch.tensor([value == -math.inf for value in truth])
    assert empty.any() and not empty.all()
    assert (depth[empty] < -1e-9).all() and (depth[~empty] > -1e-9).all()
    assert (bound[empty] < -1.0).all()
    torch.testing.assert_close(bound[~empty], torch.tensor(truth, dtype=torch.float64)[~empty], rtol=1e-9, atol=1e-9)
    held = (cut @ point.unsqueeze(-1)).squeeze(-1) + level
    assert (held[~empty] >= -1e-9).all() and (point.abs() <= 1.0).all()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5])
def test_any_number_of_steps_proves(steps: int) -> None:
    form, cut, level = programs(4, 12)
    node = torch.arange(len(form)).repeat(2)
    both = torch.cat([form, -form])
    y, _ = dual_simplex(both, cut, level, node, steps)
    assert (y >= 0).all() and (y <= LARGEST).all()
    bound = duality_bound(both, y, cut[node], level[node])
    truth = [largest(f, cut[i], level[i]) for f, i in zip(both, node.tolist(), strict=True)]
    assert (bound >= torch.tensor(truth, dtype=torch.float64) - 1e-9).all()


def search(net: nn.Module, region: Region, x: Tensor, p: float) -> tuple[float, float]:
    problem = LocalLipschitz(region, AllLogits(), p=p)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(600.0))
    assert found.certificate is Certificate.EXACT, found
    return found.lower, found.upper


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize(
    ("widths", "region"),
    [
        ((1, 7, 6, 2), LinfBall(100.0)),
        ((2, 6, 8, 3), LinfBall(1000.0)),
        ((2, 6, 4, 4, 2), L1Ball(50.0)),
        ((3, 7, 5, 2), LinfBall(5.0, low=-3.0)),
    ],
)
@one_in(2)
def test_large_regions_are_the_enumeration(widths: tuple[int, ...], region: Region, p: float) -> None:
    torch.manual_seed(len(widths))
    net, x = oracles.mlp(*widths).double(), torch.full((1, widths[0]), 0.3, dtype=torch.float64)
    assert by_levels(fold(analysis(net, p, region, x))) == (widths[0] < 4)
    ((truth, _),) = exact_constants(net, LocalLipschitz(region, AllLogits(), p=p), x)
    lower, upper = search(net, region, x, p)
    assert lower == pytest.approx(truth, rel=1e-6) and upper == pytest.approx(truth, rel=1.1e-6)


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize(("inputs", "seed"), [(1, 0), (2, 1), (2, 2), (3, 3)])
def test_integer_weights_are_the_enumeration_in_rationals(inputs: int, seed: int, p: float) -> None:
    """Kinks that meet in points and coincide: cells without an interior are next to every other one."""
    rng = np.random.default_rng(seed)
    sizes = [inputs, 5, 4, 2]
    layers = [(rng.integers(-2, 3, size=(b, a)), rng.integers(-2, 3, size=b)) for a, b in itertools.pairwise(sizes)]
    program, where = chain(layers), Where("linf", 8.0)
    oracle = Oracle(program, (0.25,) * inputs, where)
    truth = Question("regional", p, "all_logits", 0, 2).truth(oracle)
    problem = LocalLipschitz(LinfBall(8.0), AllLogits(), p=p)
    x = torch.full((1, inputs), 0.25, dtype=torch.float64)
    (found,) = certify(module(program), problem, x, estimator="branch_and_bound", budget=Budget(600.0))
    assert not truth.above(Fraction(found.upper)) and not truth.below(Fraction(found.lower))
    assert not truth.above(Fraction(found.lower) * Fraction(1000001, 1000000) + Fraction(1, 10**12))


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_steep_cells_of_tiny_volume_are_found(p: float) -> None:
    """Down to a millionth of the region wide, so that no sampled point hits them."""
    met = 0
    for seed in range(60):
        case = steep_cell(np.random.default_rng(seed))
        if case.points.shape[1] > 4:
            continue
        met += 1
        question = Question("regional", p, "all_logits", 0, case.oracles[0].outputs)
        truth = float(question.truth(case.oracles[0]))
        (found,) = certify(
            case.module,
            question.problem(case),
            torch.from_numpy(case.points),
            estimator="branch_and_bound",
            budget=Budget(600.0, nodes=4000),
        )
        assert found.certificate is Certificate.EXACT, (seed, found)
        assert found.lower >= truth * (1 - 2e-6) and found.upper >= truth
        if met == (12 if EVERYTHING else 4):
            break
    assert met in (4, 12)


def test_cells_are_counted_in_bits() -> None:
    assert bits(24, 2) == pytest.approx(math.log2(1 + 24 + 276))
    assert bits(5, 9) == pytest.approx(5.0)
    assert BITS_PER_UNIT * 54_144 < bits(54_144, 30_000) <= 54_144  # a sum that whole numbers would take minutes for


def test_levels_count_where_boxes_leave_room() -> None:
    """Ten inputs: twelve units of a level have nearly all of their patterns, so bounds say more than cuts."""
    torch.manual_seed(0)
    wide = fold(analysis(oracles.mlp(10, 12, 12, 2).double(), 1.0, Box(-5.0, 5.0), torch.zeros(1, 10).double()))
    assert not by_levels(wide)
