"""Values and gradients, in float64 with running bounds and in limbs, against fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg.budget import Budget
from lipreg.graph import Affine, Graph, MaxPool, Relu, capture
from lipreg.graph.accurate import anchors, margins, precisions
from lipreg.linalg import Numbers
from tests.linalg.test_limbs import Fractions, chained, dot, exact, matrix
from tests.test_budget import Clock

ULP = Fraction(2) ** -52


def exact_values(graph: Graph, x: Tensor) -> list[Fractions]:
    """The value of every node at one point, in rationals."""
    found: list[Fractions] = []
    for node in graph.nodes:
        match node:
            case Affine():
                total = exact(node.bias)
                for source, map in node.terms():
                    total = [t + dot(row, found[source]) for t, row in zip(total, matrix(map), strict=True)]
                found.append(total)
            case Relu(source=source, slope=slope):
                found.append([max(z, Fraction(slope) * z) for z in found[source]])
            case MaxPool(source=source, windows=windows):
                found.append([max(found[source][i] for i in window) for window in windows.tolist()])
            case _:
                found.append(exact(x))
    return found


def exact_gradient(graph: Graph, values: list[Fractions], row: Fractions) -> Fractions:
    """row . J at the point of ``values``, in rationals; at ties any of the tied."""
    flowing: list[Fractions] = [[Fraction(0)] * len(value) for value in values]
    flowing[-1] = row
    for index in range(len(graph.nodes) - 1, 0, -1):
        node, gradient = graph.nodes[index], flowing[index]
        match node:
            case Affine():
                for source, map in node.terms():
                    columns = zip(*matrix(map), strict=True)
                    parts = [dot(column, gradient) for column in columns]
                    flowing[source] = [a + b for a, b in zip(flowing[source], parts, strict=True)]
            case Relu(source=source, slope=slope):
                for i, z in enumerate(values[source]):
                    flowing[source][i] += gradient[i] * (1 if z > 0 else Fraction(slope))
            case MaxPool(source=source, windows=windows):
                for out, window in enumerate(windows.tolist()):
                    flowing[source][max(window, key=lambda i: values[source][i])] += gradient[out]
    return flowing[0]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.skip = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.c(h + nn.functional.leaky_relu(self.b(h), 0.3)) + self.skip(x)


class ConvolutionalResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 3, 3, padding=1, stride=2)
        self.b = nn.Conv2d(3, 3, 3, padding=2, dilation=2)
        self.pool, self.c = nn.MaxPool2d(2, stride=1, padding=1), nn.Linear(27, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.c(self.pool(h + self.b(h)).flatten(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), (3,)),
    "residual": (Residual, (3,)),
    "convolutional": (ConvolutionalResidual, (1, 4, 4)),
    "affine": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (2, 2)),
}


def network(name: str, seed: int, decades: float) -> Graph:
    """Random weights whose rows are scaled by powers of ten."""
    make, shape = NETWORKS[name]
    torch.manual_seed(seed)
    net = make().double()
    with torch.no_grad():
        for parameter in net.parameters():
            scale = 10.0 ** ((2 * torch.rand(parameter.shape[:1], dtype=torch.float64) - 1) * decades)
            parameter.mul_(scale.reshape(-1, *(1,) * (parameter.dim() - 1)))
    return capture(net, torch.zeros(1, *shape, dtype=torch.float64)).frozen()


cases = given(
    st.sampled_from(sorted(NETWORKS)), st.integers(0, 10**6), st.sampled_from([0.0, 3.0, 10.0]), st.integers(0, 8)
)


@cases
@settings(max_examples=40)
def test_anchors_are_within_a_unit_in_the_last_place(name: str, seed: int, decades: float, large: int) -> None:
    graph = network(name, seed, decades)
    x = torch.randn(3, *graph.input_shape, dtype=torch.float64) * 10.0**large
    found = anchors(graph, x)
    readers = [i for i, node in enumerate(graph.nodes) if isinstance(node, Affine) and 0 in node.sources]
    assert sorted(found) == readers
    for index in readers:
        node = graph.nodes[index]
        assert isinstance(node, Affine) and found[index].shape == (3, *node.shape)
        map = node.maps[node.sources.index(0)]
        for point, ours in zip(x, found[index], strict=True):
            truth = [b + dot(row, exact(point)) for b, row in zip(exact(node.bias), matrix(map), strict=True)]
            assert all(abs(t - v) <= ULP * abs(t) for t, v in zip(truth, exact(ours), strict=True))


def within(found: Numbers, truth: Fractions) -> None:
    value, error = found.rounded()
    assert all(abs(t - v) <= e for t, v, e in zip(truth, exact(value), exact(error), strict=True))


def finest(graph: Graph, x: Tensor) -> Numbers:
    return list(precisions(graph, x))[-1]


@cases
@settings(max_examples=40)
def test_values_and_gradients_are_within_their_errors(name: str, seed: int, decades: float, large: int) -> None:
    graph = network(name, seed, decades)
    x = torch.randn(2, *graph.input_shape, dtype=torch.float64) * 10.0**large
    truth = [exact_values(graph, point) for point in x]
    values = [value.rounded()[0] for value in graph.evaluate(finest(graph, x))]
    patterns = {i: s.unsqueeze(1) for i, s in graph.patterns(values).items()}
    rows = torch.randn(2, 3, *values[-1].shape[1:], dtype=torch.float64)
    gradients = [exact_gradient(graph, at, exact(row)) for at, own in zip(truth, rows, strict=True) for row in own]
    for k, (start, end) in enumerate(zip(precisions(graph, x), precisions(graph, rows), strict=True)):
        for index, found in enumerate(graph.evaluate(start)):
            within(found, chained(at[index] for at in truth))
            value, error = found.rounded()
            assert k == 0 or (error <= 1e-15 * value.abs()).all(), "of limbs the last place alone"
        found = graph.differentiate(patterns, end)
        assert found.rounded()[0].shape == (2, 3, *graph.input_shape)
        within(found, chained(gradients))


def test_running_bounds_are_of_the_size_of_rounding() -> None:
    for name in NETWORKS:
        graph = network(name, seed=0, decades=0.0)
        x = torch.randn(2, *graph.input_shape, dtype=torch.float64)
        value, error = graph.evaluate(next(precisions(graph, x)))[-1].rounded()
        assert (error < 1e-12).all() and (error > 0).all()
        torch.testing.assert_close(value, graph(x), rtol=1e-13, atol=1e-13)


def test_signs_behind_many_layers_and_after_cancellation() -> None:
    """Where a running bound in float64 exceeds every value by far."""
    torch.manual_seed(0)
    layers = [layer for _ in range(40) for layer in (nn.Linear(16, 16), nn.ReLU())]
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), *layers, nn.Linear(16, 1)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.4)
    graph = capture(net, torch.zeros(1, 2, dtype=torch.float64)).frozen()
    first, *others = precisions(graph, torch.randn(3, 2, dtype=torch.float64))
    value, error = graph.evaluate(first)[-1].rounded()
    assert (error > 0.5 * value.abs()).all()
    for start in others:
        for node, found in zip(graph.nodes, graph.evaluate(start), strict=True):
            value, error = found.rounded()
            assert not isinstance(node, Affine) or ((value.abs() > error) & (error <= 1e-15 * value.abs())).all()

    wide = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        wide[0].weight.copy_(torch.tensor([[1e8], [1.0], [1e8]]))
        wide[0].bias.copy_(torch.tensor([1e9, 2.0, 1e9]))
        wide[2].weight.copy_(torch.tensor([[1e8, 1.0, -1e8]]))
        wide[2].bias.zero_()
    graph = capture(wide, torch.zeros(1, 1, dtype=torch.float64)).frozen()
    x, row = torch.tensor([[0.3]], dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    values = [value.rounded()[0] for value in graph.evaluate(finest(graph, x))]
    assert values[-1].item() == 2.3
    patterns = {i: s.unsqueeze(1) for i, s in graph.patterns(values).items()}
    assert graph.differentiate(patterns, finest(graph, row)).rounded()[0].item() == 1.0
    _, error = graph.differentiate(patterns, next(precisions(graph, row))).rounded()
    assert error.item() > 1.0


def test_ties_are_covered() -> None:
    """Members of a window that are the same function, after layers whose digits are not all kept."""
    torch.manual_seed(1)
    layers = [layer for _ in range(20) for layer in (nn.Linear(4, 4), nn.LeakyReLU(0.3))]
    net = nn.Sequential(*layers, nn.Unflatten(1, (1, 4)), nn.MaxPool1d(4), nn.Flatten(), nn.Linear(1, 1)).double()
    last = net[38]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight[1:] = last.weight[0].clone()
        last.bias.fill_(float(last.bias[0]))
    graph = capture(net, torch.zeros(1, 4, dtype=torch.float64)).frozen()
    x = torch.randn(1, 4, dtype=torch.float64)
    truth = exact_values(graph, x[0])
    for start in precisions(graph, x):
        for found, wanted in zip(graph.evaluate(start), truth, strict=True):
            within(found, wanted)
    assert math.isclose(graph.evaluate(finest(graph, x))[-1].rounded()[0].item(), float(truth[-1][0]), rel_tol=1e-15)


@given(
    st.sampled_from(["dense", "residual", "convolutional", "affine"]),
    st.integers(0, 10**6),
    st.sampled_from([0, 8, 15]),
)
@settings(max_examples=25)
def test_margins_are_rounded_down(name: str, seed: int, offset: int) -> None:
    graph = network(name, seed, 0.0)
    output = graph.output
    graph = replace(
        graph, nodes=(*graph.nodes[:-1], replace(output, bias=output.bias + 10.0**offset * (offset > 0), bias_of=()))
    )
    x = torch.randn(3, *graph.input_shape, dtype=torch.float64)
    own = torch.randint(0, graph.output.shape[0], (3,))
    for point, label, found in zip(x, own.tolist(), margins(graph, x, own), strict=True):
        values = exact_values(graph, point)[-1]
        for value, margin in zip(values, exact(found), strict=True):
            truth = values[label] - value
            assert truth - Fraction(1, 10**8) * abs(truth) <= margin <= truth


def deep(decided: bool) -> tuple[Graph, Tensor]:
    """A network in which a running bound exceeds every margin, or in which it is far below them."""
    torch.manual_seed(1)
    layers = [layer for _ in range(40 if not decided else 1) for layer in (nn.Linear(16, 16), nn.ReLU())]
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), *layers, nn.Linear(16, 3)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.4)
    return capture(net, torch.zeros(1, 2, dtype=torch.float64)).frozen(), torch.randn(4, 2, dtype=torch.float64)


def test_without_time_there_are_no_digits_and_what_is_said_is_true() -> None:
    clock = Clock(step=1.0)
    graph, x = deep(decided=False)
    assert len(list(precisions(graph, x))) == 4
    assert len(list(precisions(graph, x, Budget(10.0, clock=clock).started()))) == 1
    assert len(list(precisions(graph, x, Budget(60.0, clock=clock).started()))) == 4
    ended = Budget(1e6, clock=Clock())
    assert len(list(precisions(graph, x, ended.within(-1.0)))) == 4, "of a long budget some seconds more are nothing"


@pytest.mark.parametrize("decided", [True, False])
def test_the_signs_of_margins_are_found_without_time(decided: bool) -> None:
    graph, x = deep(decided)
    own = torch.tensor([0, 1, 2, 0])
    whole, quick = margins(graph, x, own), margins(graph, x, own, Budget(1.0, clock=Clock(step=1.0)).started())
    assert (quick <= whole).all() and (quick.sign() == whole.sign()).all()
    assert ((quick < whole).any() and decided) or torch.equal(quick, whole)
