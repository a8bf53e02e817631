"""A trace leaves nothing behind: in the module, in torch, in the code of forwards."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedModel
from lipreg.graph import capture


class _Shapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.token = nn.Linear(5, 3), nn.Parameter(torch.randn(1, 1))

    def forward(self, x: Tensor, fails: bool = False) -> Any:
        b, n = x.shape
        x = torch.cat([x, self.token.expand(b, n - 2), torch.ones(len(x), 1)], 1) * torch.tensor(
            [1.0, 2.0, 3.0, 4.0, 5.0]
        )
        return [self.a(point) for point in x] if self.training else self.a(x).relu()


def test_a_trace_leaves_nothing_behind() -> None:
    module = _Shapes().eval()
    before = (set(module.__dict__), torch.zeros, torch.ones, Tensor.expand, nn.Module.__getattr__, nn.Module.__call__)
    scope = set(globals())
    for _ in range(2):
        captured = capture(module, torch.zeros(1, 3))
    after = (set(module.__dict__), torch.zeros, torch.ones, Tensor.expand, nn.Module.__getattr__, nn.Module.__call__)
    assert after == before and set(globals()) == scope and "expand" not in Tensor.__dict__
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    again = pickle.loads(pickle.dumps(captured))
    torch.testing.assert_close(again.frozen()(x), captured.frozen()(x), rtol=0.0, atol=0.0)


def test_neither_does_one_that_fails() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if len(x) == 3 else torch.ones(x.shape[0], 3)

    before = (torch.zeros, torch.ones, set(globals()))
    with pytest.raises(UnsupportedModel, match=r"number of points at test_tracing\.py:\d+"):
        capture(Fails(), torch.zeros(1, 3))
    assert (torch.zeros, torch.ones, set(globals())) == before and "expand" not in Tensor.__dict__


def test_random_numbers_and_weights_are_left_alone_by_questions_for_shapes() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.drop = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            y = self.drop(self.norm(self.a(x)))
            return y.relu_().view(y.shape[0], y.shape[1])

    module = Normalised().train()
    state, drawn = {name: value.clone() for name, value in module.state_dict().items()}, torch.get_rng_state()
    capture(module, torch.zeros(2, 3), running_statistics=True)
    assert torch.equal(torch.get_rng_state(), drawn) and module.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
