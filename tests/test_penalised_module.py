"""The penalty is on what the module computes: weights that hooks compute, hooks, changes between batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import lipreg
from lipreg import LipschitzPenalty
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import capture
from tests.callbacks.cases import PROBLEM, batches, bounds_by_hand


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))


def penalty(net: nn.Module) -> LipschitzPenalty:
    return LipschitzPenalty(net, PROBLEM, weight=1.0)


def by_hand(first: Tensor, net: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """The mean bound with ``first`` for the first layer's weight, differentiable in what that is made of."""
    plain = network()
    del plain[0].weight
    plain[0].weight = first  # a tensor, in place of the parameter
    plain[0].bias, plain[2] = net[0].bias, net[2]
    return bounds_by_hand(plain, x, y).mean()


def _spectral(layer: Any) -> Callable[[], Tensor]:
    spectral_norm(layer)
    return lambda: layer.weight_orig / torch.dot(layer.weight_u.clone(), layer.weight_orig @ layer.weight_v.clone())


def _weight(layer: Any) -> Callable[[], Tensor]:
    weight_norm(layer)
    return lambda: layer.weight_g * layer.weight_v / layer.weight_v.norm(dim=1, keepdim=True)


def _pruned(layer: Any) -> Callable[[], Tensor]:
    prune.l1_unstructured(layer, "weight", amount=0.5)
    return lambda: layer.weight_orig * layer.weight_mask


def _parametrized(layer: Any) -> Callable[[], Tensor]:
    parametrizations.weight_norm(layer)
    parts = layer.parametrizations.weight
    return lambda: parts.original0 * parts.original1 / parts.original1.norm(dim=1, keepdim=True)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("computed", [_spectral, _weight, _pruned, _parametrized])
@pytest.mark.parametrize("forward_first", [False, True])
def test_weights_that_hooks_compute(computed: Callable[[Any], Callable[[], Tensor]], forward_first: bool) -> None:
    """Value and gradient are those of the weight written out, step after step, whether or not a forward came first."""
    net, data = network(), batches(3)
    weight, term = computed(net[0]), penalty(net)
    for x, y in data:
        loss = F.cross_entropy(net(x), y) if forward_first else torch.zeros(())
        alone, expected = term(x, y), by_hand(weight(), net, x, y)
        assert alone.item() == pytest.approx(expected.item(), rel=1e-5)
        parameters = list(net.parameters())
        theirs = torch.autograd.grad(expected, parameters, allow_unused=True, materialize_grads=True)
        ours = torch.autograd.grad(alone, parameters, allow_unused=True, materialize_grads=True, retain_graph=True)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
        (loss + alone).backward()
        torch.optim.SGD(parameters, lr=0.1).step()
        assert lipreg.estimate(net, PROBLEM, x, y).mean().item() == pytest.approx(
            by_hand(weight(), net, x, y).item(), rel=1e-5
        )


def triple(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return 3 * output


def double(module: nn.Module, inputs: Any) -> Any:
    return (2 * inputs[0],)


@pytest.mark.parametrize(
    "add",
    [
        lambda net: net[0].register_forward_hook(triple),
        lambda net: net.register_forward_hook(triple),
        lambda net: net[0].register_forward_pre_hook(double),
        lambda net: nn.modules.module.register_module_forward_hook(
            lambda module, inputs, output: triple(module, inputs, output) if module is net[2] else None
        ),
    ],
    ids=["leaf", "outer", "before", "global"],
)
def test_hooks_that_change_something_are_refused_by_name(add: Callable[[nn.Module], Any]) -> None:
    """At the first batch, and at the batch after they were registered."""
    net, ((x, y), _) = network(), batches(2)
    term = penalty(net)
    expected = term(x, y)
    handle = add(net)
    try:
        with pytest.raises(InvalidInput, match=r"triple|double|lambda"):
            term(x, y)
        with pytest.raises(InvalidInput, match=r"triple|double|lambda"):
            penalty(net)(x, y)
        with pytest.raises(InvalidInput, match=r"triple|double|lambda"):
            lipreg.estimate(net, PROBLEM, x, y)
    finally:
        handle.remove()
    assert torch.equal(term(x, y), expected)


def test_hooks_that_look_are_run_once_and_never_see_a_trace() -> None:
    seen: list[Tensor] = []
    net, ((x, y), _) = nn.Sequential(network()), batches(2)
    net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.abs().mean().item()))  # type: ignore[arg-type]
    term = penalty(net)
    for _ in range(3):
        assert term(x, y).item() == pytest.approx(bounds_by_hand(net[0], x, y).mean().item(), rel=1e-6)  # type: ignore[arg-type]
    assert len(seen) == 1


def test_weights_of_unknown_hooks_are_refused() -> None:
    net, ((x, y),) = network(), batches(1)
    raw = net[0].weight
    del net[0].weight
    net[0].weight = raw.detach() * 0  # type: ignore[assignment]

    def refresh(module: Any, inputs: Any) -> None:
        module.weight = 2 * raw

    net[0].register_forward_pre_hook(refresh)
    with pytest.raises(UnsupportedModel, match=r"refresh.*parametrize"):
        penalty(net)(x, y)


class Switching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.scale, self.steps = network(), 1.0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.seen = x
        return self.net(self.scale * x)


def test_structure_and_constants_that_change_are_read_again() -> None:
    """A scale that is annealed, a layer that becomes a block of the same names, another forward."""
    net, ((x, y),) = Switching(), batches(1)
    term, captured = penalty(net), capture(net, x)
    assert term(x, y).item() == pytest.approx(bounds_by_hand(net.net, x, y).mean().item(), rel=1e-6)
    net.scale = 3.0
    scaled = copy.deepcopy(net.net)
    with torch.no_grad():
        scaled[0].weight.mul_(3.0)
    # the ball of the scaled inputs is that of the inputs, scaled
    expected = lipreg.estimate(scaled, PROBLEM, x, y)
    assert term(x, y).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert torch.allclose(lipreg.estimate(captured, PROBLEM, x, y), expected, rtol=1e-5)
    net.net = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Sequential(nn.Identity(), nn.Linear(7, 3)))
    net.scale = 1.0
    plain = nn.Sequential(net.net[0], net.net[1], net.net[2][1])  # type: ignore[index]
    assert term(x, y).item() == pytest.approx(bounds_by_hand(plain, x, y).mean().item(), rel=1e-6)


def test_a_comparison_leaves_no_trace() -> None:
    net = nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3))
    net[3].eval()
    ((x, y),) = batches(1)
    state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    penalty(net)(x, y)
    assert all(torch.equal(now, state[name]) for name, now in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in net] == [True, True, True, False, True]


def test_parts_under_no_grad_get_no_gradient() -> None:
    """What a forward keeps out of training stays out of it."""

    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.net[0](x)
            return self.net[2](torch.relu(x))

    net, ((x, y),) = Frozen(), batches(1)
    term = penalty(net)(x, y)
    expected = bounds_by_hand(net.net, x, y).mean()
    assert term.item() == pytest.approx(expected.item(), rel=1e-6)
    ours = torch.autograd.grad(term, list(net.parameters()), allow_unused=True)
    assert ours[0] is None
    assert torch.allclose(ours[2], torch.autograd.grad(expected, net.net[2].weight)[0], rtol=1e-5)
