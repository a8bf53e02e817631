"""Units that are 0 near every point, members of a window that are one function through several layers: they hide nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lipreg
from lipreg import AllLogits, LinfBall, LocalLipschitz
from lipreg.budget import UNLIMITED
from lipreg.derivatives.at_points import derivatives_at
from lipreg.estimators import frozen_analysis
from lipreg.estimators.witnesses.witness import proved_value
from lipreg.results import Status

Forward = Callable[["_Net", Tensor], Tensor]
FORWARDS: dict[str, Forward] = {
    "larger of a unit and its relu": lambda net, z: torch.maximum(z, z.relu()),
    "products in another order": lambda net, z: torch.maximum(2 * z, z * 2.0),
    "sums in another order": lambda net, z: torch.maximum(z + net.b(z.relu()), net.b(z.relu()) + z),
    "relus of relus": lambda net, z: torch.maximum(z.relu().relu(), z.relu()),
    "multiples": lambda net, z: torch.maximum(z.relu(), 0.5 * (2 * z).relu()),
    "magnitudes": lambda net, z: torch.maximum(z.abs(), (-z).abs()),
    "amax of three": lambda net, z: torch.stack([z, 1.0 * z, net.b(z.relu())], 1).amax(1),
    "two clamps": lambda net, z: torch.maximum(z.clamp(-1, 1), F.hardtanh(z)),
    "multiples that cancel": lambda net, z: (z.relu() - 0.5 * (2 * z).relu()).relu() + z,
    "halves that cancel": lambda net, z: (z.relu() - (-z).relu() - z).relu() + z,
    "magnitudes that cancel": lambda net, z: (z.abs() - (-z).abs()).abs() + z,
}
X = torch.tensor([[0.1, -0.2]], dtype=torch.float64)


class _Net(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.c = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.own = forward
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.own(self, self.a(x)))


def _slopes(net: nn.Module, x: Tensor) -> Tensor:
    """The largest l1 norm of an output's gradient at each point, by torch."""
    x = x.clone().requires_grad_()
    parts = [torch.autograd.grad(out.sum(), x, retain_graph=True)[0].abs().sum(1) for out in net(x).T]
    return torch.stack(parts).amax(0)


@pytest.mark.parametrize("name", FORWARDS)
def test_the_lower_end_is_attained(name: str) -> None:
    net = _Net(FORWARDS[name])
    (found,) = lipreg.certify(net, LocalLipschitz(LinfBall(0.9), AllLogits()), X)
    assert found.status is Status.PROVED and found.witness is not None
    at = torch.tensor([found.witness.point], dtype=torch.float64)
    drawn = X + 1.8 * torch.rand(4000, 2, dtype=torch.float64) - 0.9
    most = float(_slopes(net, torch.cat([at, drawn])).max())
    assert found.lower == pytest.approx(float(_slopes(net, at)), rel=1e-9)
    assert found.lower * (1 + 1e-9) >= most > 0.1 and most <= found.upper * (1 + 1e-9)


@pytest.mark.parametrize("name", FORWARDS)
def test_kinks_remain_kinks(name: str) -> None:
    """Nothing is proved at a point where a unit of the first layer is 0 and changes; two cases have no such kink."""
    net = _Net(FORWARDS[name])
    with torch.no_grad():
        net.a.weight[0] = torch.tensor([1.0, 2.0])
        net.a.bias[0] = 0.0
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.9), AllLogits()), X, None)
    on = torch.tensor([0.5, -0.25], dtype=torch.float64)
    assert (proved_value(analysis, on) > 0) == (name in ("products in another order", "two clamps"))
    assert proved_value(analysis, on + 1e-9) > 0


def test_curves_at_a_kink_that_is_none() -> None:
    net = _Net(lambda net, z: F.elu(z.relu() - 0.5 * (2 * z).relu(), 0.5) + z)
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.9), AllLogits()), X, None)
    assert proved_value(analysis, X[0]) == pytest.approx(float(_slopes(net, X)), rel=1e-9)


def test_derivatives_of_what_cancels() -> None:
    net = _Net(FORWARDS["multiples that cancel"])
    local = frozen_analysis(net, LocalLipschitz(LinfBall(0.9), AllLogits()), X, None)
    low, high = derivatives_at(local, X, UNLIMITED)
    true = torch.autograd.functional.jacobian(net, X)[:, :, 0].squeeze()
    assert (low[0] <= true + 1e-12).all() and (high[0] >= true - 1e-12).all() and (high - low).amax() < 1e-9


def test_a_first_witness_has_time_behind_many_layers() -> None:
    torch.manual_seed(0)
    between = [layer for _ in range(19) for layer in (nn.Linear(16, 16), nn.ReLU())]
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), *between, nn.Linear(16, 2))
    for scope in ("regional", "pointed"):
        for method in (None, "branch_and_bound"):
            (found,) = lipreg.certify(
                net, LocalLipschitz(LinfBall(0.1), AllLogits(), scope), X, estimator=method, budget=0.0
            )
            assert found.lower > 0
