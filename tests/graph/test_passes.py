"""Passes through a graph by rule tables: values of any type, from any node on, added up where paths meet."""

from collections.abc import Iterable, Mapping

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.errors import LipregError
from lipreg.graph import Affine, Backward, Curved, Forward, Graph, MaxPool, Relu, WithoutCurves, WithoutPools, capture
from lipreg.linalg import LinearMap
from tests.oracles import jacobian


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x).relu()
        return self.last(h + self.second(h).relu()) + 0.5 * self.last(h)


def residual() -> Graph:
    torch.manual_seed(0)
    return capture(Residual(), torch.zeros(1, 3)).frozen()


class Paths(Forward[int]):
    """How many paths lead to a node."""

    def affine(self, index: int, node: Affine, values: Mapping[int, int]) -> int | None:
        return sum(values.values()) or None

    def relu(self, index: int, node: Relu, value: int) -> int:
        return value

    def max_pool(self, index: int, node: MaxPool, value: int) -> int:
        return value

    def curved(self, index: int, node: Curved, value: int) -> int:
        return value


class PathsBack(Backward[int]):
    """How many paths lead from a node to the output; ``met`` are the nodes on the way."""

    def __init__(self) -> None:
        self.met: list[int] = []

    def back(self, map: LinearMap, value: int) -> int:
        return value

    def affine(self, index: int, node: Affine, value: int) -> Iterable[tuple[int, int]]:
        self.met.append(index)
        return super().affine(index, node, value)

    def relu(self, index: int, node: Relu, value: int) -> int:
        return value

    def max_pool(self, index: int, node: MaxPool, value: int) -> int:
        return value

    def curved(self, index: int, node: Curved, value: int) -> int:
        return value


def test_both_ways_meet_every_path_once() -> None:
    graph = residual()
    last = len(graph.nodes) - 1
    # relu(first) reaches the output directly (both skips are one map) and through the second layer
    assert graph.forward({0: 1}, Paths())[last] == 2
    back = PathsBack()
    assert graph.backward([(last, 1)], back) == 2
    assert back.met == sorted(back.met, reverse=True) and len(set(back.met)) == len(back.met) == 3


def test_a_pass_begins_where_it_is_told_and_ends_where_nothing_flows() -> None:
    graph = residual()
    (first, _), (second, _) = graph.relus()
    assert 0 not in graph.forward({second: 1}, Paths())
    assert graph.forward({second: 1}, Paths())[len(graph.nodes) - 1] == 1
    assert max(graph.forward({0: 1}, Paths(), until=first)) == first

    class Blocked(Paths):
        def relu(self, index: int, node: Relu, value: int) -> None:  # type: ignore[override]
            return None

    assert len(graph.nodes) - 1 not in graph.forward({0: 1}, Blocked())

    class BlockedBack(PathsBack):
        def relu(self, index: int, node: Relu, value: int) -> None:  # type: ignore[override]
            return None

    assert graph.backward([(len(graph.nodes) - 1, 1)], BlockedBack()) is None


def test_gradients_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    net = Residual().double()
    graph, x = capture(net, torch.zeros(1, 3)).frozen(), torch.randn(5, 3, dtype=torch.float64)
    slopes = {i: s.unsqueeze(1) for i, s in graph.patterns(graph.values(x)).items()}
    found = graph.gradients(slopes, torch.eye(2, dtype=torch.float64).expand(5, 2, 2))
    for point, own in zip(x, found, strict=True):
        assert np.allclose(own.numpy(), jacobian(net, point.numpy()), atol=1e-12)


def test_a_constant_has_values_and_no_gradient() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    nn.init.zeros_(net[2].weight)
    graph = capture(net, torch.zeros(1, 2)).frozen()
    constant = Graph((graph.nodes[0], Affine((), (), torch.ones(3, dtype=torch.float64))))
    x = torch.randn(4, 2, dtype=torch.float64)
    assert torch.equal(constant(x), torch.ones(3, dtype=torch.float64))
    rows = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    assert torch.equal(constant.gradients({}, rows), torch.zeros(4, 3, 2, dtype=torch.float64))
    assert constant.branches  # no layer after another


@pytest.mark.parametrize("kind", ["affine", "relu", "max_pool"])
def test_a_table_that_lacks_a_kind_is_no_table(kind: str) -> None:
    table = type("Table", (Forward,), {k: getattr(Paths, k) for k in ("affine", "relu", "max_pool") if k != kind})
    with pytest.raises(TypeError, match=kind):
        table()


def test_methods_without_pools_say_so() -> None:
    class NoPools(WithoutPools, Paths):
        pass

    graph = capture(
        nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2)), torch.zeros(1, 2)
    ).frozen()
    with pytest.raises(LipregError, match="NoPools"):
        graph.forward({0: 1}, NoPools())


def test_methods_without_curves_say_so() -> None:
    class NoCurves(WithoutCurves, Paths):
        pass

    graph = capture(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), torch.zeros(1, 2)).frozen()
    with pytest.raises(LipregError, match=r"NoCurves: a Curved node of Tanh\(\)"):
        graph.forward({0: 1}, NoCurves())
