"""Gathering: points stay in the region, gradients only grow, and what is left over no point adds to the phases found."""

from __future__ import annotations

import math

import pytest
import torch

from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS
from lipreg.folding import fold
from lipreg.search.cells import CellForms
from lipreg.search.greedy_search import greedy_search
from tests import oracles
from tests.sampling import one_in
from tests.search.cases import REGIONS, analysis, check_ascent, sample
from tests.search.test_local_search import NETS, many_inputs


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@one_in(3)
def test_gradients_grow_and_points_stay_in_the_region(name: str, region: str, p: float) -> None:
    net = oracles.network(name)
    local = analysis(net, p, REGIONS[region])
    sampled = sample(net, local, 4)
    check_ascent(local, sampled, lambda d: greedy_search(sampled.folded, d, lambda: False))
    for d in sampled.d:
        other = greedy_search(sampled.folded, d, lambda: False, torch.Generator().manual_seed(1))
        assert local.placed.region.contains(sampled.folded.domain.points(other.unsqueeze(0)).unsqueeze(1)).all()
    assert torch.equal(greedy_search(sampled.folded, sampled.d[0], lambda: True), sampled.d[0]), "ended before it began"


@pytest.mark.parametrize("seed", [1, 3])
def test_what_is_gathered_comes_near_the_constant(seed: int) -> None:
    """Where inputs are many: to 75 % of the exact constant and more, a fifth above the best of hundreds of points."""
    _, local = many_inputs(seed, 14, 10)
    (exact,) = ESTIMATORS["branch_and_bound"].intervals(local, Budget(600.0))
    folded = fold(local)
    lower, upper = folded.domain.lower, folded.domain.upper
    drawn = lower + (upper - lower) * torch.rand(
        300, folded.inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    values = folded.gradient_norms(folded.phases(drawn)).amax(-1)
    found = torch.stack([greedy_search(folded, d, lambda: False) for d in drawn[:6]])
    reached = float(folded.gradient_norms(folded.phases(found)).amax())
    assert max(0.75 * exact.lower, 1.2 * float(values.max())) <= reached <= exact.upper * (1.0 + 1e-9)


def test_free_signs_ask_nothing() -> None:
    """And signs that are asked for hold at the points found, where some point has them."""
    _, local = many_inputs(2, 14, 10)
    folded = fold(local)
    start = torch.zeros(folded.inputs, dtype=torch.float64)
    beside = CellForms.of(folded, start)
    own = (beside.of_points(start.float().unsqueeze(0)) > 0).float() * 2 - 1
    free = torch.zeros_like(own)
    assert torch.equal(beside.into(free, start.float(), 50), start.float().unsqueeze(0))
    first = free.clone()
    first[0, :5] = own[0, :5]
    found = beside.into(first, start.float(), 400)
    assert (first * beside.of_points(found) >= 0).all()
