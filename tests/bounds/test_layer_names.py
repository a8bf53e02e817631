"""Layers are called in details what the user's modules are called."""

from __future__ import annotations

import torch
from torch import nn

from lipreg import LinfBall, LocalLipschitz, Logit, certify
from lipreg.bounds import without_pools
from lipreg.bounds.layer_names import layers_named
from lipreg.budget import Budget
from lipreg.estimators import frozen_analysis
from lipreg.graph import MaxPool
from tests.test_budget import Clock

X = torch.zeros(1, 1, 6, 6, dtype=torch.float64)


class Pooled(nn.Module):
    """A network whose pool, in a part with a name, follows no ReLU."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        first = nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1), nn.MaxPool2d((2, 1))
        self.f = nn.Sequential(*first, nn.Conv2d(2, 2, (1, 2)), nn.ReLU(), nn.Flatten())
        self.g = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.g(self.f(x))


def test_a_pool_has_the_name_of_its_module() -> None:
    analysis = frozen_analysis(Pooled().double(), LocalLipschitz(LinfBall(0.1), Logit(0)), X, None)
    graph = analysis.graph
    ((index, pool), (_, last)) = graph.pools()
    assert isinstance(pool, MaxPool) and (pool.name, last.name) == ("f.1", "f.3")
    named = layers_named(graph, [index, pool.source, len(graph.nodes) - 1, 0])
    assert named == "'f.1', before 'f.1', the output and the input"
    written = [node.name for _, node in without_pools(analysis).graph.relus()]
    assert "max pool f.1" in written and not [name for name in written if name == f"max pool {index}"]


def test_what_had_no_time_is_called_so_too() -> None:
    (found,) = certify(
        Pooled().double(),
        LocalLipschitz(LinfBall(0.1), Logit(0)),
        X,
        estimator="jacobian_crown",
        budget=Budget(0.0, clock=Clock()),
    )
    assert "'f.3'" in found.detail and "at node" not in found.detail
