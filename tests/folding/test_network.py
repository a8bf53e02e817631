"""The folded network is the network: its pre-activations, outputs and gradients at points of the region."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.errors import LipregError
from lipreg.estimators import certify, frozen_analysis
from lipreg.folding import arithmetic, fold, fold_values
from lipreg.milp import encode, encode_rise, families
from lipreg.outputs import AllLogits, AllPairs, Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, LinfBall
from lipreg.results import Certificate
from lipreg.testing import exact_constants
from tests import oracles
from tests.search.cases import REGIONS, analysis, sample
from tests.search.test_bounds import each_net_and_region


@each_net_and_region
def test_phases_and_gradients_are_those_of_the_network(name: str, region: str) -> None:
    net = oracles.network(name)
    for p in (1.0, 2.0, math.inf):
        sampled = sample(net, analysis(net, p, REGIONS[region]), 60)
        phase = sampled.folded.phases(sampled.d)
        off = sampled.z.abs() > 1e-9
        assert torch.equal((phase > 0)[off], (sampled.z > 0)[off])
        found = sampled.folded.gradient_norms(phase)
        torch.testing.assert_close(found, sampled.norms, rtol=1e-9, atol=1e-12)


@each_net_and_region
def test_every_part_of_the_forward_half_is_the_network(name: str, region: str) -> None:
    """Pre-activations and outputs over the displacement and the units' outputs, also where the later units are left out."""
    net = oracles.network(name)
    local = analysis(net, math.inf, REGIONS[region])
    sampled, values = sample(net, local, 50), fold_values(local)
    h = torch.where(sampled.z > 0, sampled.z, sampled.z * values.negative_slope)
    outputs = local.graph(values.domain.points(sampled.d))
    for form, found in ((values.z, sampled.z), (values.output, outputs)):
        said = sampled.d @ form.on_input.T + h @ form.on_unit.T + form.constant
        torch.testing.assert_close(said, found, rtol=1e-9, atol=1e-12)
    for index, _ in local.graph.relus():
        before = values.before(index)
        count = before.count
        assert [int(unit) for level in before.levels for unit in level] == list(range(count))
        assert (before.tied < count).all()
        said = sampled.d @ before.z.on_input.T + h[:, :count] @ before.z.on_unit.T + before.z.constant
        torch.testing.assert_close(said, sampled.z[:, :count], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("digits", [False, True])
@pytest.mark.parametrize("name", ["residual", "deep"])
def test_columns_are_multiplied_out_in_parts_where_memory_is_short(
    name: str, digits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = oracles.network(name)
    if digits:
        monkeypatch.setattr(arithmetic, "ENOUGH", 0.0)
    whole, *others = (
        fold(analysis(net, 2.0, REGIONS["linf"]), Budget(math.inf, memory=memory).started())
        for memory in (2**30, 2**13, 1)
    )
    for found in others:
        for part in ("on_input", "on_unit", "constant", "error"):
            for form in ("z", "output"):
                own, wanted = (getattr(getattr(network, form), part) for network in (found, whole))
                torch.testing.assert_close(own, wanted, rtol=1e-12, atol=1e-14)
        for part in ("g_unit", "g_offset", "j_unit", "j_offset"):
            torch.testing.assert_close(getattr(found, part), getattr(whole, part), rtol=1e-12, atol=1e-14)


def test_rows_that_are_more_than_the_outputs_are_combined_from_these() -> None:
    torch.manual_seed(0)
    net, x = oracles.mlp(2, 8, 6, 4).double(), torch.full((1, 2), 0.2, dtype=torch.float64)
    logits, local = (
        frozen_analysis(net, LocalLipschitz(LinfBall(0.8), kind), x, None) for kind in (AllLogits(), AllPairs())
    )
    own, pairs, c = fold(logits), fold(local), local.placed.rows[0]
    assert own.count and own.rows == 4 < pairs.rows == len(c) == 6
    torch.testing.assert_close(pairs.g_offset, c @ own.g_offset)
    torch.testing.assert_close(pairs.j_offset, c @ own.j_offset)
    assert torch.equal(pairs.g_unit, own.g_unit) and torch.equal(pairs.j_unit, own.j_unit)


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_inputs_that_cannot_move_have_no_columns(scope: str) -> None:
    net = oracles.network("deep")
    x = torch.tensor([[0.2, 0.1]], dtype=torch.float64)
    problem = LocalLipschitz(Box([0.2, -0.7], [0.2, 0.9]), AllLogits(), scope)  # type: ignore[arg-type]
    local = frozen_analysis(net, problem, x, None)
    folded = fold_values(local)
    assert folded.inputs == 1 and folded.domain.movable.tolist() == [False, True]
    d = torch.tensor([[0.3], [-0.5]], dtype=torch.float64)
    points = folded.domain.points(d)
    np.testing.assert_allclose(points.numpy(), [[0.2, 0.4], [0.2, -0.4]])
    torch.testing.assert_close(folded.domain.of(points), d)
    encoding = encode(local, 0) if scope == "regional" else encode_rise(local, 0)
    assert encoding.program.columns["d"] == slice(0, 1)


def test_a_network_is_folded_once_for_its_searches_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    local = analysis(oracles.network("deep"), math.inf, REGIONS["linf"])
    network = fold(local)
    monkeypatch.setattr("lipreg.folding.network.value_forms", None)
    monkeypatch.setattr("lipreg.folding.network.gradient_forms", None)
    assert fold(local) is network
    assert all(encode(local, row).folded is network for row in range(2))


@pytest.mark.parametrize("least", [5e-324, 1e-310])
def test_a_gradient_below_the_normal_numbers_is_refused_in_words(least: float) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.5], [0.75, 0.3]]))
        net[0].bias.copy_(torch.tensor([2.0, -0.5]))
        net[2].weight.copy_(torch.tensor([[least, 1.75]], dtype=torch.float64))
    local = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), Logit(0)), torch.zeros(1, 2, dtype=torch.float64), None)
    with pytest.raises(LipregError, match="Rescale"):
        fold(local, Budget(60.0).started())


def test_a_unit_whose_range_is_rounding_asks_for_no_digits() -> None:
    """One difference of two units that are almost one, beside units of usual ranges: the others are folded as fast as ever,
    and the constant is that of the network without it."""
    torch.manual_seed(0)
    first, second, last = nn.Linear(3, 8).double(), nn.Linear(8, 6).double(), nn.Linear(6, 2).double()
    with torch.no_grad():
        first.weight[1], first.bias[:2] = first.weight[0], 5.0
        second.weight[0] = 0.0
        second.weight[0, 0], second.weight[0, 1], second.bias[0] = 1.0, -1.0 - 2.0**-50, 5 * 2.0**-50
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    x, problem = torch.rand(1, 3, dtype=torch.float64), LocalLipschitz(LinfBall(0.5), AllLogits())
    found = frozen_analysis(net, problem, x, None)
    reach = found.value_bounds[max(node.source for _, node in found.graph.relus())]
    assert bool(reach.unstable[0, 0]) and float((reach.upper - reach.lower)[0, 0]) < 1e-12
    assert arithmetic.digit_count(families(found)[0]) == 1
    (mine,) = certify(net, problem, x)
    with torch.no_grad():
        last.weight[:, 0] = 0.0
    ((low, high),) = exact_constants(net, problem, x)
    assert mine.certificate is Certificate.EXACT and mine.lower <= high * (1 + 1e-9) and low <= mine.upper * (1 + 1e-9)
