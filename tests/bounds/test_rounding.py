"""Bounds hold for the float64 weights in real arithmetic: against fractions, where weights cancel and inputs are large."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg import Box, LinfBall, LocalLipschitz, Logit
from lipreg.bounds import Analysis, analyse, gradient_rounding, interval_jacobian
from lipreg.folding import Displacements, FoldedNetwork, cell_forms, fold, unstable_units
from lipreg.folding.arithmetic import needs_digits
from lipreg.graph import Graph, capture
from lipreg.milp import encode_rise
from tests import oracles
from tests.graph.test_accurate import exact_gradient, exact_values

METHODS = [("interval",), ("ball",), ("crown",), ("ball", "interval", "crown")]


def scaled_rows(net: nn.Module, spread: float, generator: torch.Generator) -> None:
    """Rows times 10^U(-spread, spread)."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                factors = 10.0 ** (spread * (2 * torch.rand(len(layer.weight), 1, generator=generator) - 1)).double()
                layer.weight.mul_(factors)
                layer.bias.mul_(factors[:, 0])


def cancelling(generator: torch.Generator) -> nn.Module:
    """Pairs of units of size 1e6 that are always on and take each other's outputs away, beside ordinary ones."""
    net = oracles.mlp(3, 8, 6, 2).double()
    with torch.no_grad():
        net[0].weight[4:] *= 1e6
        net[0].bias[4:] = 1e8
        net[2].weight[:, 5] = -net[2].weight[:, 4]
        net[0].weight[5] = net[0].weight[4] + torch.randn(3, generator=generator).double()
    return net


def far(generator: torch.Generator) -> nn.Module:
    """Kinks near an input of 1e7."""
    net = oracles.mlp(3, 8, 6, 2).double()
    with torch.no_grad():
        net[0].bias.mul_(1e-3).sub_(net[0].weight @ torch.full((3,), 1e7, dtype=torch.float64))
    return net


def uneven(generator: torch.Generator) -> nn.Module:
    net = oracles.mlp(3, 8, 6, 2).double()
    scaled_rows(net, 4.0, generator)
    return net


MAKERS: dict[str, tuple[Callable[[torch.Generator], nn.Module], float, float]] = {
    "cancelling": (cancelling, 0.3, 0.2),
    "far": (far, 1e7, 1e-3),
    "uneven": (uneven, 0.3, 0.5),
}


def posed(
    name: str, seed: int, methods: tuple[str, ...] | None = None, scope: str = "regional"
) -> tuple[Graph, Analysis]:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    make, center, radius = MAKERS[name]
    net = make(generator)
    x = torch.full((1, 3), center, dtype=torch.float64) + radius * torch.randn(1, 3, generator=generator).double()
    graph = capture(net, x).frozen()
    problem = LocalLipschitz(LinfBall(radius), Logit(0), scope)  # type: ignore[arg-type]
    with torch.no_grad():
        return graph, analyse(graph, problem.place(x, graph(x)), methods)


def inside(analysis: Analysis, count: int) -> Tensor:
    region = analysis.placed.region
    points = region.sample(count, torch.Generator().manual_seed(1))[0]
    return torch.cat([region.center, points[region.contains(points.unsqueeze(0))[0]]])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("methods", METHODS, ids="+".join)
def test_reach_holds_exact_values(name: str, methods: tuple[str, ...]) -> None:
    for seed in range(3):
        graph, analysis = posed(name, seed, methods)
        for x in inside(analysis, 8):
            for value, reach in zip(exact_values(graph, x), analysis.value_bounds, strict=True):
                for entry, low, high in zip(value, reach.lower[0].tolist(), reach.upper[0].tolist(), strict=True):
                    assert Fraction(low) <= entry <= Fraction(high)


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_in_float64_are_off_by_no_more_than_said(name: str) -> None:
    for seed in range(3):
        graph, analysis = posed(name, seed)
        rows = analysis.placed.rows[0]
        lost = gradient_rounding(analysis)[0][0, 0]
        low, high = (end[0, 0] for end in interval_jacobian(analysis)[0])
        for x in inside(analysis, 8):
            values = exact_values(graph, x)
            slopes = {}
            for index, node in graph.relus():
                z = values[node.source]
                slopes[index] = torch.tensor([[float(entry > 0) for entry in z]], dtype=torch.float64)
            computed = graph.gradients(slopes, rows)[0]
            exact = exact_gradient(graph, values, [Fraction(c) for c in rows[0].tolist()])
            parts = zip(exact, computed.tolist(), lost.tolist(), low.tolist(), high.tolist(), strict=True)
            for entry, found, loss, least, most in parts:
                assert abs(entry - Fraction(found)) <= Fraction(loss)
                assert Fraction(least) <= entry <= Fraction(most)


def exact_sum(factors: np.ndarray, numbers: list[Fraction]) -> Fraction:
    return sum((Fraction(a) * b for a, b in zip(factors.tolist(), numbers, strict=True)), Fraction(0))


@pytest.mark.parametrize("enough", [1e-8, 1e-30], ids=["usual", "digits"])
@pytest.mark.parametrize("name", MAKERS)
def test_cells_are_written_with_what_their_forms_may_be_off_by(
    name: str, enough: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipreg.folding.arithmetic.ENOUGH", enough)
    for seed in range(3):
        graph, analysis = posed(name, seed)
        units, region = unstable_units(analysis), analysis.placed.region
        for x in inside(analysis, 4):
            values = exact_values(graph, x)
            pattern = np.array(
                [float(values[graph.nodes[i].source][k] > 0) for i, k in zip(units.node, units.position, strict=True)]
            )
            form, _ = cell_forms(analysis, units, Displacements.within(region), pattern)
            moved = [Fraction(a) - Fraction(b) for a, b in zip(x.tolist(), region.center[0].tolist(), strict=True)]
            entries = [
                entry
                for _, node in graph.relus()
                for entry, moves in zip(
                    values[node.source], analysis.value_bounds[node.source].movable[0].tolist(), strict=True
                )
                if moves
            ]
            for entry, row, constant, error in zip(entries, *(form.arrays[i] for i in (0, 2, 3)), strict=True):
                assert abs(Fraction(constant) + exact_sum(row, moved) - entry) <= Fraction(error)


@pytest.mark.parametrize("enough", [1e-8, 1e-30], ids=["usual", "digits"])
@pytest.mark.parametrize("name", MAKERS)
def test_the_rise_of_both_signs_is_no_more_than_its_program_and_loss(
    name: str, enough: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipreg.folding.arithmetic.ENOUGH", enough)
    for seed in range(3):
        graph, analysis = posed(name, seed, scope="pointed")
        encoding, region = encode_rise(analysis, 0), analysis.placed.region
        program, units, c = encoding.program, encoding.units, analysis.placed.rows[0, 0].numpy()
        before = exact_sum(c, exact_values(graph, region.center[0])[-1])
        for x in inside(analysis, 8):
            values = exact_values(graph, x)
            moved = [Fraction(a) - Fraction(b) for a, b in zip(x.tolist(), region.center[0].tolist(), strict=True)]
            outputs = [values[node][k] for node, k in zip(units.node, units.position, strict=True)]
            said = exact_sum(program.cost[program.columns["d"]], moved) + Fraction(program.offset)
            said += exact_sum(program.cost[program.columns["h"]], outputs) if len(units) else 0
            assert abs(exact_sum(c, values[-1]) - before - said) <= Fraction(encoding.loss)


def test_layers_that_cancel_are_multiplied_out_in_digits() -> None:
    """x -> (1e8 x, x, 1e8 x), all on, -> (1e8, 1, -1e8): in float64 the 1 is lost beside 1e16."""
    net = oracles.mlp(1, 3, 1).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1e8], [1.0], [1e8]]))
        net[0].bias.fill_(1e9)
        net[2].weight.copy_(torch.tensor([[1e8, 1.0, -1e8]]))
        net[2].bias.zero_()
    x = torch.tensor([[0.3]], dtype=torch.float64)
    graph = capture(net, x).frozen()
    with torch.no_grad():
        analysis = analyse(graph, LocalLipschitz(LinfBall(0.1), Logit(0)).place(x, graph(x)))
        assert needs_digits(analysis)
        network = fold(analysis)
    assert network.j_offset.tolist() == [[1.0]]
    assert float(network.rounding) < 1e-13
    low, high = interval_jacobian(analysis)[0]
    assert 1.0 - 1e-9 <= float(low) <= 1.0 <= float(high) <= 1.0 + 1e-9


@pytest.mark.parametrize("name", MAKERS)
def test_digits_and_float64_fold_the_same_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, analysis = posed(name, 0)

    def folded(enough: float) -> FoldedNetwork:
        monkeypatch.setattr("lipreg.folding.arithmetic.ENOUGH", enough)
        return fold(analysis.for_question(analysis.placed))  # of an analysis of its own: a folded network is made once

    plain, exact = folded(1e300), folded(1e-30)
    for parts in (lambda n: n.z.arrays[:3], lambda n: (n.g_unit, n.g_offset, n.j_unit, n.j_offset)):
        for a, b in zip(map(np.asarray, parts(plain)), map(np.asarray, parts(exact)), strict=True):
            assert np.abs(a - b).max(initial=0.0) <= 1e-6 * np.abs(b).max(initial=0.0)
    on_d, on_h, constant, _ = (np.abs(a - b) for a, b in zip(plain.z.arrays, exact.z.arrays, strict=True))
    apart = on_d @ plain.domain.size.numpy() + on_h @ plain.units.size + constant
    assert (apart <= plain.z.arrays[3] + exact.z.arrays[3]).all()
    assert (exact.z.error <= plain.z.error).all()


@pytest.mark.parametrize("fan", [1, 2, 5])
def test_units_that_touch_their_kink_are_decided(fan: int) -> None:
    """Rows without a bias over features >= 0, and a face of the region on a kink: their ends are 0, not a rounding below."""
    torch.manual_seed(fan)
    net = oracles.mlp(3, 4, fan, 1).double()
    with torch.no_grad():
        net[2].weight.abs_()
        net[2].bias.zero_()
        net[0].weight[0] = torch.tensor([0.7, 0.3, 0.9])
        net[0].bias[0] = 0.0
    x = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    graph = capture(net, x).frozen()
    with torch.no_grad():
        problem = LocalLipschitz(Box([0.0] * 3, [1.0] * 3), Logit(0))
        analysis = analyse(graph, problem.place(x, graph(x)), ("interval",))
    assert float(analysis.value_bounds[1].lower[0, 0]) == 0.0
    assert (analysis.value_bounds[3].lower >= 0.0).all()
    assert not analysis.value_bounds[3].unstable.any()
