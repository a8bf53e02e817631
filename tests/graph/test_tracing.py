"""A trace leaves nothing behind: in the module, in torch, in the code of forwards."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
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


class _Draws(nn.Module):
    def __init__(self, draw: Any) -> None:
        super().__init__()
        self.a, self.draw = nn.Linear(4, 3), draw

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).relu() * self.draw(x)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.randint(1, 5, (1,)),
        lambda x: torch.rand(3),
        lambda x: random.choice([1.0, 2.0]),
        lambda x: float(np.random.rand()),
        lambda x: torch.empty(3).normal_(),
        lambda x: torch.rand(x.shape[0], 3),
        lambda x: torch.rand_like(x[:, :3]),
    ],
)
def test_a_network_of_random_numbers_is_none_and_draws_none_of_ours(draw: Any) -> None:
    module = _Draws(draw)
    states = random.getstate(), torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    for _ in range(3):
        with pytest.raises(UnsupportedModel, match="draws random numbers"):
            capture(module, torch.zeros(1, 4))
    assert random.getstate() == states[0] and torch.equal(torch.random.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], states[2])  # type: ignore[index]


def test_what_a_forward_rebinds_is_as_before() -> None:
    class Counts(nn.Module):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.a, self.calls = nn.Linear(4, 3), 0
            self.register_buffer("seen", torch.ones(2, 2))

        def forward(self, x: Tensor) -> Tensor:
            self.seen, self.calls = self.seen + 1, self.calls + 1
            return self.a(x).relu()

    module = Counts()
    x, seen = torch.rand(2, 4), module.seen
    for _ in range(2):
        capture(module, x).frozen_at(x)
        assert module.calls == 0 and module.seen is seen and bool((seen == 1).all())


def test_casts_on_the_way_round_as_they_do() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5).double(), nn.Linear(5, 2).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu().to(torch.float32).double())

    x = torch.rand(3, 4, dtype=torch.float64)
    assert capture(Casts(), x).frozen_at(x)(x).shape == (3, 2)


def _counts(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return self.a(x) * self.calls


def _remembers(self: Any, x: Tensor) -> Tensor:
    z, self.seen = self.seen, 0.9 * self.seen + 0.1 * self.a(x).mean(0)
    return self.a(x) + z


def _own_generator(self: Any, x: Tensor) -> Tensor:
    return self.a(x) * torch.rand(3, generator=self.generator)


@pytest.mark.parametrize("forward", [_counts, _remembers, _own_generator])
def test_a_network_that_changes_from_call_to_call_is_none(forward: Any) -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.calls, self.generator = nn.Linear(4, 3), 1, torch.Generator().manual_seed(0)
            self.register_buffer("seen", torch.ones(3))

    module, x = type("Changes", (Module,), {"forward": forward})(), torch.rand(2, 4)
    with pytest.raises(UnsupportedModel, match="other outputs when it is called again"):
        capture(module, x).frozen_at(x)
    assert module.calls == 1 and bool((module.seen == 1).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_above_its_threshold(dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2)).to(dtype)
    with torch.no_grad():
        module[0].bias.fill_(21.0)
    x = torch.rand(2, 3, dtype=dtype)
    assert capture(module, x).frozen_at(x).dtype == torch.float64


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda self, x: torch.cat([self.a(x), x[:, 4:]], 1), "a part without entries"),
        (lambda self, x: self.a(x).tensor_split((9,), 1)[1], "a part without entries"),
        (lambda self, x: self.a(x) * x.new_tensor(x.shape[0]), "a constant of the number of points"),
        (
            lambda self, x: torch.einsum("kbi,k->bi", torch.stack([x, x]), torch.ones(2)),
            "stacked before the batch axis",
        ),
        (lambda self, x: self.a(x).sort(1)[1].float() * 1.0, "jump"),
        (lambda self, x: torch.abs(self.a(x), out=torch.empty(3)), r"writes into|unexpected keyword"),
        (lambda self, x: F.leaky_relu(self.a(x).unfold(1, 2, 1), 3.0, inplace=True).flatten(1), "more than once"),
    ],
)
def test_what_is_refused_says_why(forward: Any, says: str) -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)

    with pytest.raises(UnsupportedModel, match=says):
        capture(type("Refused", (Module,), {"forward": forward})(), torch.zeros(1, 4))


def test_layers_of_constants_are_constants() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.place = nn.Linear(4, 3), nn.Parameter(torch.rand(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            both = torch.stack([self.a(x).relu(), self.a(x), self.a(self.place) + x[:, :3]])
            return both[1:].sum(0) * x.new_full((3,), 2.0) + both[0] * (x.new_ones(1, 3) * x.new_zeros(len(x), 3))

    module, x = Module().double(), torch.rand(5, 4, dtype=torch.float64)
    captured = capture(module, x)
    torch.testing.assert_close(captured.frozen()(x), module(x))
    (own,), (ours,) = (
        torch.autograd.grad(made(x).sum(), module.place) for made in (module, captured.live(torch.float64))
    )
    torch.testing.assert_close(ours, own)


@pytest.mark.parametrize(
    "strange", [lambda: nn.Linear(4, 3, device="meta"), lambda: nn.Linear(4, 3, dtype=torch.complex64)]
)
def test_weights_are_real_numbers(strange: Any) -> None:
    with pytest.raises(UnsupportedModel, match="weights or buffers of Linear are"):
        capture(strange(), torch.zeros(1, 4))
