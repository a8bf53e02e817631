"""Signs of gradients by the signs of weights: what no rounding touches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit, capture
from lipreg.bounds import Analysis, analyse, gradient_signs, interval_jacobian
from lipreg.testing.networks import JUDGED, input_size, network
from tests.oracles import mlp


def analysed(net: nn.Module, x: Tensor, radius: float = 0.5) -> Analysis:
    graph = capture(net, x).frozen()
    with torch.no_grad():
        return analyse(graph, LocalLipschitz(LinfBall(radius), Logit(0)).place(x, graph(x)))


def signs(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    analysis = analysed(net, x)
    return gradient_signs(analysis, interval_jacobian(analysis))


def positive(net: nn.Module) -> nn.Module:
    """The network with weights of at least 0 and biases of any sign."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("weight"):
                weight.abs_()
    return net.double().eval()


def monotone() -> list[nn.Module]:
    torch.manual_seed(0)
    convolved = nn.Sequential(
        *(
            nn.Unflatten(1, (1, 9)),
            nn.Conv1d(1, 2, 3),
            nn.ReLU(),
            nn.AvgPool1d(2),
            nn.Conv1d(2, 3, 2),
            nn.LeakyReLU(0.1),
        ),
        *(nn.MaxPool1d(2), nn.Flatten(), nn.Linear(3, 1)),
    )
    return [positive(mlp(9, 7, 6, 5, 1)), positive(mlp(9, 8, 1, negative_slope=0.2)), positive(convolved)]


@pytest.mark.parametrize("at", range(3))
def test_weights_of_one_sign_make_a_network_monotone(at: int) -> None:
    net, x = monotone()[at], torch.rand(2, 9, dtype=torch.float64)
    analysis = analysed(net, x, radius=5.0)
    bounds = interval_jacobian(analysis)
    below, above = gradient_signs(analysis, bounds)
    assert not below.any() and above.any()
    assert at == 1 or (bounds[0][0] < 0).any(), "but for the leaky one intervals alone leave it open"


def test_two_signs_in_a_row_cancel() -> None:
    net = positive(mlp(3, 6, 1))
    with torch.no_grad():
        net[0].bias.zero_()  # every unit has its kink at the point
        net[0].weight[:, 1].neg_()  # falls along input 1
        net[0].weight[:, 2].neg_()
        net[0].weight[0, 2] = 1.0  # on both sides along input 2
    below, above = signs(net, torch.zeros(1, 3, dtype=torch.float64))
    assert below.flatten().tolist() == [False, True, True]
    assert above.flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_no_sign_is_excluded_that_occurs(name: str) -> None:
    net = network(name)
    x = torch.full((1, input_size(net)), 0.3, dtype=torch.float64)
    below, above = signs(net, x)
    points = (x + torch.rand(2000, x.shape[1], dtype=torch.float64) - 0.5).requires_grad_()
    (seen,) = torch.autograd.grad(net(points)[:, 0].sum(), points)
    assert not ((seen < 0).any(0) & ~below[0, 0]).any()
    assert not ((seen > 0).any(0) & ~above[0, 0]).any()
