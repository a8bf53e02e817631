"""Degenerate units are found and named: each kind built by hand, none in networks with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lipreg import AllLogits, Box, LinfBall, LocalLipschitz, Polytope, certify, general_position
from lipreg.bounds import Degeneracy, GeneralPosition, shared_kinks
from lipreg.estimators import frozen_analysis
from lipreg.regions import Region
from tests import oracles


def layer(weights: list[list[float]], biases: list[float]) -> nn.Sequential:
    """One hidden layer with these rows, and an output that uses all of it."""
    net = oracles.mlp(len(weights[0]), len(weights), 2).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(weights, dtype=torch.float64))
        net[0].bias.copy_(torch.tensor(biases, dtype=torch.float64))
    return net


def found(net: nn.Module, region: Region | None = None, at: tuple[float, ...] = (0.1, 0.2)) -> GeneralPosition:
    problem = LocalLipschitz(region or LinfBall(1.0), AllLogits())
    return general_position(net, problem, torch.tensor([at], dtype=torch.float64))[0]


def kinds(report: GeneralPosition) -> dict[Degeneracy, tuple[str, ...]]:
    return {f.kind: f.units for f in report.findings}


@pytest.mark.parametrize("name", ["shallow", "deep", "residual", "scaled", "leaky", "batch_norm"])
def test_random_networks_have_none(name: str) -> None:
    report = found(oracles.network(name))
    assert report.findings == () and report.harmless
    assert "Nothing degenerate was found. Looked for were" in report.sentence()


def test_zero_rows() -> None:
    report = found(oracles.network("dead_units"))
    assert kinds(report) == {Degeneracy.NO_WEIGHTS: ("1[2]",)}
    assert report.harmless and "has no kink" in report.sentence() and "Looked for were" in report.sentence()


def test_duplicates_and_opposites_in_exact_arithmetic_and_up_to_rounding() -> None:
    rows, biases = [[0.3, -0.7], [0.6, -1.4], [-0.3, 0.7], [1.0, 1.0]], [0.1, 0.2, -0.1, 0.0]
    report = found(layer(rows, biases))
    assert kinds(report) == {Degeneracy.TIED: ("1[0]", "1[1]", "1[2]")}
    assert report.harmless
    third = [0.3 * 3, -0.7 * 3]  # rounded products
    report = found(layer([rows[0], third, [1.0, 1.0]], [0.1, 0.1 * 3, 0.0]))
    assert kinds(report) == {Degeneracy.NEARLY_TIED: ("1[0]", "1[1]")}
    assert not report.harmless
    assert "up to rounding: 1[0], 1[1]" in report.sentence()
    assert found(layer([rows[0], rows[0]], [0.1, 0.1 + 1e-9])).findings == (), "parallel, and apart"


def test_kinks_through_the_reference_point() -> None:
    rows = [[1.0, 2.0], [0.5, -1.0], [-1.0, 0.3], [2.0, 4.0]]
    few = kinds(found(layer(rows[:2], [0.0, 0.0]), at=(0.0, 0.0)))
    assert few == {Degeneracy.AT_POINT: ("1[0]", "1[1]")}
    many = found(layer(rows, [0.0] * 4), at=(0.0, 0.0))
    assert kinds(many) == {Degeneracy.TIED: ("1[0]", "1[3]"), Degeneracy.CROWDED: ("1[0]", "1[1]", "1[2]")}
    assert not many.harmless and "more kinks meet" in many.sentence().lower()
    x0 = (0.1, 0.2)
    biases = [-(r[0] * x0[0] + r[1] * x0[1]) for r in rows[:3]]
    assert Degeneracy.CROWDED in kinds(found(layer(rows[:3], biases), at=x0)), "up to the rounding of the biases"


def test_kinks_on_faces_of_the_region() -> None:
    net = layer([[2.0, 0.0], [0.0, -1.0], [1.0, 1.0], [1.0, 2.0]], [-2.0, 0.3, -0.5, 0.1])
    on = found(net, Box([-1.0, -2.0], [1.0, 3.0]))
    assert kinds(on) == {Degeneracy.ON_FACE: ("1[0]",)} and not on.harmless
    on = found(net, Polytope([[2.0, 2.0]], [1.0], -1.0, 0.9))
    assert kinds(on) == {Degeneracy.ON_FACE: ("1[2]",)}
    assert found(net, Box(-1.5, 1.5)).findings == ()


def test_kinks_of_pools_and_sorts() -> None:
    class Pooled(nn.Module):
        """The larger one of two units, and of these twice."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.a(x)
            return torch.cat([z.amax(1, keepdim=True), (2 * z).amax(1, keepdim=True)], 1)

    net = Pooled().double()
    with torch.no_grad():
        net.a.bias.zero_()
    report = kinds(found(net, at=(0.0, 0.0)))
    assert report == {
        Degeneracy.TIED: ("sorting 2[0]", "sorting 4[0]"),
        Degeneracy.AT_POINT: ("sorting 2[0]",),
    }


def test_units_of_functions_are_named_by_their_call() -> None:
    class Magnitude(nn.Module):
        """|a x| as relu(a x) + relu(-a x)."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.a(x)
            return torch.relu(z) + torch.relu(-z)

    net = Magnitude().double()
    with torch.no_grad():
        net.a.weight.copy_(torch.tensor([[1.0, 0.5], [2.0, 1.0]]))
        net.a.bias.copy_(torch.tensor([0.1, 0.2]))
    names = [f.units for f in found(net).findings if f.kind is Degeneracy.TIED]
    assert names == [("relu[0]", "relu[1]", "relu_1[0]", "relu_1[1]")]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), power=st.integers(-8, 8), flip=st.booleans(), noise=st.sampled_from([0.0, 1e-8]))
def test_planted_duplicates_are_found_and_no_others(seed: int, power: int, flip: bool, noise: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    net = oracles.mlp(3, 6, 2).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(6, 3, generator=generator, dtype=torch.float64))
        net[0].bias.copy_(0.1 * torch.randn(6, generator=generator, dtype=torch.float64))
        ratio = (-1.0 if flip else 1.0) * 2.0**power
        net[0].weight[4] = ratio * net[0].weight[1] * (1 + noise * torch.tensor([1.0, -1.0, 0.5]).double())
        net[0].bias[4] = ratio * net[0].bias[1]
    x = torch.zeros(1, 3, dtype=torch.float64)
    local = frozen_analysis(net, LocalLipschitz(LinfBall(1.0), AllLogits()), x, None)
    ((index, _),) = local.graph.relus()
    groups = shared_kinks(local, {index: np.arange(6)})
    if noise:
        assert groups == []
    else:
        (group,) = groups
        assert group.units == ((index, 1), (index, 4)) and group.signs == (1, -1 if flip else 1) and all(group.exact)


def test_a_degenerate_network_of_which_nothing_is_lost() -> None:
    """Without biases the pattern of the reference point alone may be the steepest: it is told to have no room."""
    torch.manual_seed(0)
    net, x = oracles.mlp(2, 5, 2).double(), torch.zeros(1, 2, dtype=torch.float64)
    nn.init.zeros_(net[0].bias)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits())
    (report,) = general_position(net, problem, x)
    (result,) = certify(net, problem, x)
    assert Degeneracy.CROWDED in kinds(report) and not report.harmless and "may stay" in report.sentence()
    assert result.status.value == "proved" and "too many kinks" not in result.detail
