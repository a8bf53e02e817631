"""Batch norm in training: the values of its running statistics, and no gradient along what a batch's own undo."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg import LinfBall, LipschitzPenalty, LocalLipschitz, estimate
from lipreg.graph import capture
from lipreg.training import Auto

N = TypeVar("N", bound=nn.Module)

PROBLEM = LocalLipschitz(LinfBall(0.1))


class Residual(nn.Module):
    """A batch norm over a sum of branches, one of them the activations themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm1 = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.two, self.norm2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.head = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(self.one(x)).relu()
        return self.head(self.norm2(self.two(h) + h).relu().flatten(1))


def perceptron() -> nn.Sequential:
    hidden = nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(5, 3))


def convolutions(*pool: nn.Module) -> nn.Sequential:
    first = nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU()
    second = nn.Conv2d(3, 4, 2, stride=2, groups=1), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(*first, *pool, *second, nn.Flatten(), nn.LazyLinear(3))


MAKE: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolutions": convolutions,
    "max pool": lambda: convolutions(nn.MaxPool2d(2)),
    "average pool": lambda: convolutions(nn.AvgPool2d(2)),
    "residual": Residual,
}
made = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def warmed(make: Callable[[], N]) -> tuple[N, Tensor, Tensor]:
    """In training mode, with running statistics and affine parts that are not those of the start."""
    torch.manual_seed(0)
    net, x = make(), torch.rand(20, 1, 4, 4)
    with torch.no_grad():
        for _ in range(5):
            net(x)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
    return net.double(), x.double()[:6], torch.arange(6) % 3


def layers(net: nn.Sequential) -> list[Any]:
    """Its linear layers and batch norms, in order."""
    return [module for module in net if isinstance(module, nn.Linear | nn.BatchNorm1d)]


def gradients(net: nn.Module, x: Tensor, y: Tensor, quantity: str | None = None) -> dict[str, Tensor]:
    net.zero_grad()
    LipschitzPenalty(net, PROBLEM, quantity=quantity, weight=1.0)(x, y).backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def before_norms(net: nn.Module) -> list[str]:
    """Names of linear layers and convolutions right before a batch norm, in the order of registration."""
    named = [(name, m) for name, m in net.named_modules() if name and not isinstance(m, nn.MaxPool2d | nn.AvgPool2d)]
    return [a for (a, _), (_, b) in pairwise(named) if isinstance(b, nn.BatchNorm1d | nn.BatchNorm2d)]


@made
def test_values_are_those_of_the_running_statistics_bit_for_bit(make: Callable[[], nn.Module]) -> None:
    net, x, _ = warmed(make)
    captured = capture(net, x, running_statistics=True)
    moving, frozen = captured.live(), captured.frozen()
    constant = capture(net.eval(), x).live()
    for a, b in ((constant, moving), (captured.live(), moving), (frozen, moving)):
        assert a.fingerprint() == b.fingerprint()
        assert torch.equal(a(x), b(x))


@pytest.mark.parametrize("quantity", [None, "jacobian"])
@pytest.mark.parametrize("name", ["perceptron", "convolutions", "max pool", "average pool"])
def test_no_gradient_along_the_weights_before_it(name: str, quantity: str | None) -> None:
    """Nor in the bias there, nor along an earlier batch norm's scale and shift together; with sigma held there is one."""
    net, x, y = warmed(MAKE[name])
    moving = gradients(net, x, y, quantity)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()
    held, parameters = gradients(net, x, y, quantity), dict(net.named_parameters())

    def along(found: dict[str, Tensor], *names: str) -> Tensor:
        return sum(
            (found[n] * parameters[n]).flatten(1).sum(1) if found[n].dim() > 1 else (found[n] @ parameters[n])[None]
            for n in names
            if n in found
        )  # type: ignore[return-value]

    places = before_norms(net)
    assert len(places) == 2
    for place in places:
        radial = along(moving, f"{place}.weight")
        assert radial.abs().max() < 1e-9 < 1e-4 < along(held, f"{place}.weight").abs().max()
        assert f"{place}.bias" not in moving or not moving[f"{place}.bias"].any()
        assert moving[f"{place}.weight"].abs().max() > 1e-4
    norm = next(n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))
    joint = [along(found, f"{norm}.weight", f"{norm}.bias").abs().max() for found in (moving, held)]
    assert joint[0] < 1e-9 < 1e-4 < joint[1]


def test_a_sum_of_branches_has_no_gradient_along_all_of_them_together() -> None:
    net, x, y = warmed(Residual)
    found, parameters = gradients(net, x, y), dict(net.named_parameters())
    assert (found["one.weight"] * parameters["one.weight"]).flatten(1).sum(1).abs().max() < 1e-9
    # twice the activations double one branch of the sum as they double the other
    joint = sum((found[n] * parameters[n].detach()).sum() for n in ("norm1.weight", "norm1.bias") if n in found)
    assert abs(float(joint)) < 1e-9


def test_the_gradient_is_that_of_a_sigma_which_grows_with_the_weights() -> None:
    """By finite differences of the function at evaluation, whose statistics are moved by hand along with the weights."""
    net, x, y = warmed(perceptron)
    torch.manual_seed(1)
    linear, norm = layers(net)[:2]
    found = gradients(net, x, y)["1.weight"]
    direction, w = torch.randn_like(found), linear.weight.detach().clone()
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    offset, deviation = linear.bias.detach(), (variance + norm.eps).sqrt()

    def value(step: float) -> float:
        moved = w + step * direction
        growth = moved.norm(dim=1) / w.norm(dim=1)
        with torch.no_grad():
            linear.weight.copy_(moved)
            norm.running_mean.copy_(offset + (mean - offset) * growth)
            norm.running_var.copy_((deviation * growth).square() - norm.eps)
        return float(estimate(net.eval(), PROBLEM, x, y).detach().mean())

    numeric = (value(1e-5) - value(-1e-5)) / 2e-5
    assert float((found * direction).sum()) == pytest.approx(numeric, rel=1e-4)


def test_a_weight_of_zeros_has_finite_gradients() -> None:
    net, x, y = warmed(perceptron)
    with torch.no_grad():
        layers(net)[0].weight.zero_()
    assert all(torch.isfinite(g).all() for g in gradients(net, x, y).values())


def test_auto_waits_until_the_running_statistics_have_settled() -> None:
    torch.manual_seed(0)
    net, x, y = perceptron(), torch.rand(20, 1, 4, 4), torch.arange(20) % 3
    for norm, momentum in zip(layers(net)[1::2], (0.5, None), strict=False):
        norm.momentum = momentum  # a mean over all batches has no start that it must forget
    penalty = LipschitzPenalty(net, PROBLEM, weight=Auto())
    found = []
    for _ in range(5):
        loss = F.cross_entropy(net(x), y)
        penalty(x, y, loss=loss)
        found.append(penalty.weight > 0)
    assert found == [False, False, False, True, True]  # 0.5^4 < 0.1


@pytest.mark.parametrize("quantity", [None, "jacobian"])
def test_a_small_network_learns_with_a_penalty_as_without(quantity: str | None) -> None:
    """Its function at evaluation does; with sigma held it was near chance."""
    torch.manual_seed(0)
    net, y = convolutions(), torch.arange(60) % 3
    x = torch.rand(3, 1, 4, 4)[y] + 0.1 * torch.randn(60, 1, 4, 4)
    net(x)
    penalty = LipschitzPenalty(net, PROBLEM, quantity=quantity, weight="auto", points=8)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(100):
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        (loss + penalty(x, y, loss=loss)).backward()
        optimizer.step()
    assert penalty.weight > 0
    assert float((net.eval()(x).argmax(1) == y).float().mean()) > 0.95
