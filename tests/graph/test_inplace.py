"""Forwards that write into tensors: whoever reads them later reads what was written, or the forward is refused."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit, certify
from lipreg.errors import UnsupportedModel
from lipreg.graph import capture


class Writing(nn.Module):
    """A layer, and a function of its output, of the input and of an activation that writes in place."""

    def __init__(self, function: Callable[[Tensor, Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.layer, self.act, self.function = nn.Linear(4, 4), nn.ReLU(inplace=True), function
        self.kept = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x), x, self.act)


def after(write: Callable[[Tensor, Tensor], object]) -> Callable[[Tensor, Tensor, nn.Module], Tensor]:
    """Reads its tensor when something has been written."""

    def function(y: Tensor, x: Tensor, act: nn.Module) -> Tensor:
        write(y, x)
        return y * 1.0

    return function


def added(y: Tensor, x: Tensor, act: nn.Module) -> Tensor:
    z = y
    z += x
    return y


def skipped(y: Tensor, x: Tensor, act: nn.Module) -> Tensor:
    kept = y
    y = act(y) * 2
    y -= kept
    return y


READ = {
    "relu_ and its operand": lambda y, x, act: y.relu_() + y,
    "a module in place, and its operand": lambda y, x, act: act(y) - 0.5 * y,
    "F.relu(y, True)": lambda y, x, act: F.relu(y, True) + 3 * y,
    "F.leaky_relu(y, inplace=True)": lambda y, x, act: F.leaky_relu(y, 0.25, inplace=True) + 3 * y,
    "a result that nobody takes": after(lambda y, x: y.clamp_(-0.1, 0.2)),
    "+= x": added,
    "y[:, :2].zero_()": after(lambda y, x: y[:, :2].zero_()),
    "y[:, 1].fill_(0.5)": after(lambda y, x: y[:, 1].fill_(0.5)),
    "y[:, 2:].copy_(x)": after(lambda y, x: y[:, 2:].copy_(x[:, :1])),
    "y.copy_(x)": after(lambda y, x: y.copy_(2 * x)),
    "one that was written before": skipped,
    "mul_, then add_": after(lambda y, x: y.mul_(2.0).add_(x)),
    "twice": after(lambda y, x: (y.relu_(), y.sub_(1.0), y.relu_())),
    "the input itself": lambda y, x, act: x.clamp_(min=0.0) + x,
    "a copy": lambda y, x, act: y.clone().relu_() - y,
    "a branch of its own": lambda y, x, act: act(y + 1) - y,
    "a part": after(lambda y, x: y[:, :2].add_(1.0)),
    "an entry": after(lambda y, x: y.__setitem__((slice(None), 0), 0.0)),
    "a column": after(lambda y, x: operator.setitem(y, (slice(None), 0), F.relu(y[:, 0]))),
    "entries of a mask": after(lambda y, x: operator.setitem(y, y > 1, 1.0)),
    "a part of a part": after(lambda y, x: operator.setitem(y[:, 1:], (slice(None), [0, 2]), x[:, :2])),
    "parts that overlap": after(lambda y, x: (y[:, :3].mul_(2.0), y[:, 1:].add_(y[:, :1]), y[:, 2:].relu_())),
    "a part of the input": lambda y, x, act: (operator.setitem(x, (slice(None), 1), y[:, 0]), x + y)[1],
}


@pytest.mark.parametrize("name", READ)
def test_what_was_written_is_what_is_read(name: str) -> None:
    torch.manual_seed(0)
    net = Writing(READ[name]).double()
    graph = capture(net, torch.zeros(1, 4)).frozen()
    for count in (1, 5):
        x = torch.randn(count, 4, dtype=torch.float64)
        torch.testing.assert_close(graph(x), net(x.clone()).detach(), rtol=1e-12, atol=1e-12)


REFUSED = {
    "a view": after(lambda y, x: y.view(-1, 2, 2).relu_()),
    "a part that is read later": lambda y, x, act: (
        lambda part: (operator.setitem(y, (slice(None), 0), 0.0), part + 1)[1]
    )(y[:, :2]),
    "a chunk": lambda y, x, act: (lambda a, b: act(a) + b + y[:, :2])(*torch.chunk(y, 2, 1)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_memory_that_is_read_through_another_tensor_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedModel, match=r"writes into memory that is read later, through"):
        capture(Writing(REFUSED[name]), torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("index", "says"), [("first", "some points of a batch alone"), ("large", "not known to be continuous")]
)
def test_parts_that_no_network_may_write_to(index: str, says: str) -> None:
    write = after(lambda y, x: operator.setitem(y, slice(0, 1) if index == "first" else y > 1, 2.0))
    with pytest.raises(UnsupportedModel, match=says):
        capture(Writing(write), torch.zeros(1, 4))


def test_writing_into_a_parameter_is_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.kept.mul_(2.0)

    net = Own()
    with pytest.raises(UnsupportedModel, match="a tensor of the module's own"):
        capture(net, torch.zeros(1, 4))
    assert torch.equal(net.kept, torch.ones(4))


def test_the_constant_is_that_of_what_was_written() -> None:
    """At the reference point nothing tells the two apart; over the region they have other slopes."""

    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 1.0
            z = y
            z += x
            return y

    (found,) = certify(Doubled(), LocalLipschitz(LinfBall(1.0), Logit(0)), torch.zeros(1, 1).double())
    assert found.lower == pytest.approx(2.0) and found.upper == pytest.approx(2.0)
