"""Forwards whose other pieces are not at work at the points that are given: nothing is proved of what they are not."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg import LinfBall, LipschitzPenalty, LocalLipschitz, Vector, capture, certify, estimate
from lipreg.errors import LipregError, UnsupportedModel

X = torch.zeros(1, 2)
PROBLEM = LocalLipschitz(LinfBall(4.0), Vector())
"""At X every unit is active; within its region all of them are switched off somewhere."""


class Around(nn.Module):
    """A layer, a function of it, and a layer."""

    def __init__(self, act: nn.Module, middle: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.act, self.b, self.middle = nn.Linear(2, 4), act, nn.Linear(4, 1), middle
        self.other, self.slope, self.settings = nn.Buffer(torch.tensor([3.0])), 0.1, {"slope": 0.1}
        with torch.no_grad():
            self.a.weight.mul_(2.0)
            self.a.bias.fill_(3.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.middle(self, self.a(x)))


def steepest(network: nn.Module) -> float:
    """The largest gradient on a grid, in the l1 norm, as torch computes it one point at a time."""
    own, found = copy.deepcopy(network).double().eval(), 0.0
    for point in torch.cartesian_prod(*[torch.linspace(-3.9, 3.9, 9, dtype=torch.float64)] * 2):
        x = point[None].requires_grad_()
        found = max(found, float(torch.autograd.grad(own(x).sum(), x)[0].abs().sum()))
    return found


def calls_with_other_weights(net: Any, x: Tensor) -> Tensor:
    return torch.func.functional_call(net.act, {"weight": net.other}, (x,))


def sets_and_resets(net: Any, x: Tensor) -> Tensor:
    net.act.negative_slope = 3.0
    y = net.act(x)
    net.act.negative_slope = 0.1
    return y


def sets_before(net: Any, x: Tensor) -> Tensor:
    net.act.negative_slope = 3.0
    return net.act(x)


def copies_weights_in(net: Any, x: Tensor) -> Tensor:
    net.act.weight.data.copy_(net.other)
    y = net.act(x)
    net.act.weight.data.fill_(0.1)
    return y


def loads_weights(net: Any, x: Tensor) -> Tensor:
    net.act.load_state_dict({"weight": net.other})
    y = net.act(x)
    net.act.load_state_dict({"weight": net.other * 0 + 0.1})
    return y


def catches_what_it_asks(net: Any, x: Tensor) -> Tensor:
    with contextlib.suppress(Exception):
        if x.min() < 0:
            x = F.leaky_relu(x, 3.0)
    return x


def catches_a_number(net: Any, x: Tensor) -> Tensor:
    try:
        lowest = float(x.min())
    except Exception:
        lowest = 0.0
    return F.leaky_relu(x, 3.0) if lowest < 0 else x


def asks_for_the_kind(net: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(x, 3.0) if type(x) is torch.Tensor else F.relu(x)


def asserts_and_goes_on(net: Any, x: Tensor) -> Tensor:
    try:
        assert x.min() >= 0
    except AssertionError:
        x = F.leaky_relu(x, 3.0)
    return x


def counts_calls(net: Any, x: Tensor) -> Tensor:
    net.slope += 1
    return F.leaky_relu(x, net.slope)


@pytest.mark.parametrize(
    ("act", "middle", "says"),
    [
        (nn.PReLU(init=0.1), calls_with_other_weights, "changes weight of act while it runs at .*py:"),
        (nn.LeakyReLU(0.1), sets_and_resets, "changes negative_slope of act"),
        (nn.LeakyReLU(0.1), sets_before, "changes negative_slope of act"),
        (nn.PReLU(init=0.1), copies_weights_in, "beside the points|changes weight"),
        (nn.PReLU(init=0.1), loads_weights, "beside the points|changes weight"),
        (nn.ReLU(), catches_what_it_asks, "branches on values"),
        (nn.ReLU(), catches_a_number, "makes a number"),
        (nn.ReLU(), asks_for_the_kind, "beside the points"),
        (nn.ReLU(), asserts_and_goes_on, "beside the points|branches on values"),  # as pytest rewrites assertions
        (nn.ReLU(), counts_calls, "other outputs when it is called again|beside the points"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_forward_hides_is_refused(act: nn.Module, middle: Any, says: str) -> None:
    with pytest.raises(LipregError, match=says):
        certify(Around(act, middle).eval(), PROBLEM, X, estimator="fastlip")


def of_attribute(net: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(x, net.slope)


def of_settings(net: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(x, net.settings["slope"])


def of_a_buffer_as_a_number(net: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(x, float(net.other) / 30.0)


@pytest.mark.parametrize("middle", [of_attribute, of_settings, of_a_buffer_as_a_number])
def test_what_changes_after_it_was_read_is_read_again(middle: Any) -> None:
    network = Around(nn.ReLU(), middle).eval()
    captured, penalty = capture(network, X), LipschitzPenalty(network, PROBLEM, bound="fastlip", weight=1.0)
    before = certify(captured, PROBLEM, X, estimator="fastlip")[0].upper
    penalty(X)
    network.slope = network.settings["slope"] = 3.0
    network.other.fill_(90.0)
    truth = steepest(network)
    assert before < truth
    assert certify(captured, PROBLEM, X, estimator="fastlip")[0].upper >= truth
    assert float(estimate(captured, PROBLEM, X, bound="fastlip")) >= truth * (1 - 1e-5)
    if middle is of_attribute:  # what is plain is seen by a penalty at once, the rest now and then
        assert float(penalty(X)) >= truth * (1 - 1e-5)


def test_points_that_a_network_does_not_take_say_nothing() -> None:
    def in_range(net: Any, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not isinstance(x, torch.fx.Proxy) and x.abs().max() > 3.5:
            raise ValueError("outside")
        return torch.relu(x)

    network = Around(nn.ReLU(), in_range).eval()
    assert certify(network, PROBLEM, X, estimator="fastlip")[0].upper >= steepest(
        Around(nn.ReLU(), lambda _, x: x.relu())
    )


def test_layers_that_are_the_same_at_every_call_may_be_called_again() -> None:
    def twice(net: Any, x: Tensor) -> Tensor:
        return net.act(net.act(x) - 1)

    with contextlib.suppress(UnsupportedModel):
        capture(Around(nn.LeakyReLU(0.1), sets_before), X)
    assert certify(Around(nn.PReLU(), twice).eval(), PROBLEM, X, estimator="fastlip")[0].upper > 0


@pytest.mark.parametrize("place", ["hook", "pre-hook", "forward"])
def test_what_is_beside_the_forwards_is_found_under_large_outputs(place: str) -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(1.0), nn.Linear(4, 1))
    nn.init.constant_(network[2].bias, 1e6)
    middle = network[1]
    if place == "hook":
        middle.register_forward_hook(lambda module, given, found: 3 * found)
    elif place == "pre-hook":
        middle.register_forward_pre_hook(lambda module, given: (3 * given[0],))
    else:
        middle.forward = lambda x: 3 * x  # type: ignore[method-assign]
    with pytest.raises(LipregError, match="differs from the module"):
        certify(network.eval(), PROBLEM, X, estimator="fastlip")


class Computed(nn.Module):
    """One row of weights that its forward computes, in float32."""

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weight, self.of = nn.Parameter(torch.tensor([[0.3, -1.7, 0.9]])), of

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.of(self.weight))


@pytest.mark.parametrize("of", [lambda w: w * 0.1, torch.sigmoid, torch.square, F.softplus, lambda w: w / w.norm()])
def test_weights_that_a_forward_computes_are_those_of_the_float64_copy(of: Callable[[Tensor], Tensor]) -> None:
    network = Computed(of)
    truth = float(of(network.weight.detach().double()).abs().sum())
    found = certify(network, PROBLEM, torch.zeros(1, 3), estimator="branch_and_bound")[0]
    assert found.lower <= truth * (1 + 1e-13) and truth * (1 - 1e-13) <= found.upper
    assert network.weight.dtype == torch.float32 and network.weight.requires_grad


def test_a_slice_with_a_step_that_leaves_one_entry_is_read() -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.a(x))[:, 3::3]

    assert certify(Sliced(), PROBLEM, torch.zeros(1, 3), estimator="fastlip")[0].upper > 0


def test_a_forward_that_writes_into_its_input_leaves_the_points_alone() -> None:
    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2).sum(1, keepdim=True)

    x = torch.ones(1, 2)
    with contextlib.suppress(LipregError):
        certify(nn.Sequential(Doubles()), PROBLEM, x, estimator="fastlip")
    assert torch.equal(x, torch.ones(1, 2))
