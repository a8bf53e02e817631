"""The doors to bounds and certificates: what they check of a network before any work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit, certify, estimate
from lipreg.errors import InvalidInput, UnsupportedModel, UnsupportedRequest


@pytest.mark.parametrize(
    "hook", [lambda module, args, output: output.relu(), lambda module, args, output: output * 1.005]
)
def test_a_hook_that_acts_elsewhere_in_the_region_is_seen(hook: Any) -> None:
    """relu(x - 1) - relu(-x - 1) is 0 at 0 with or without a ReLU behind it; not so in the region."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.fill_(-1.0)
        net[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    problem, x = LocalLipschitz(LinfBall(3.0), Logit(0)), torch.zeros(1, 1, dtype=torch.float64)
    seen: list[Tensor] = []
    net[2].register_forward_hook(lambda module, args, output: seen.append(output))
    assert certify(net, problem, x)[0].upper >= 1.0 and seen
    net[2].register_forward_hook(hook)
    with pytest.raises(InvalidInput, match="forward hook"):
        certify(net, problem, x)


def test_a_refusal_of_a_question_says_which_methods_ask_for_linear_pieces() -> None:
    """No network is known yet, and one with curves would only be refused once more."""
    smooth = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with pytest.raises(UnsupportedRequest) as told:
        certify(smooth, LocalLipschitz(LinfBall(0.1), Logit(0)), torch.zeros(1, 3), estimator="lipsdp")
    every, pieces = told.value.todo.split("; of networks of linear pieces also ")
    assert pieces.startswith("lp, mip.") and "mip" not in every
    for name in every.partition(": ")[2].split(", "):
        assert certify(smooth, LocalLipschitz(LinfBall(0.1), Logit(0)), torch.zeros(1, 3), estimator=name)


def test_a_bound_beyond_its_dtype_is_no_bound() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).half()
    with torch.no_grad():
        net[0].weight.fill_(300.0)
        net[2].weight.fill_(300.0)
    problem, x = LocalLipschitz(LinfBall(0.1), Logit(0)), torch.zeros(1, 4, dtype=torch.float16)
    with pytest.raises(InvalidInput, match=r"above 65,504.*network\.float\(\)"):
        estimate(net, problem, x, bound="spectral")
    expected = 4 * 8 * 300.0**2
    assert estimate(net.float(), problem, x.float(), bound="spectral").item() == pytest.approx(expected)
    assert certify(net.half(), problem, x, estimator="spectral")[0].upper == pytest.approx(expected)


class Sines(nn.Module):
    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](torch.sin(self.net[0](x)))


@pytest.mark.parametrize("seed", range(3))
def test_sines_are_bounded_as_their_refusal_says(seed: int) -> None:
    """By the product of norms of the network with tanh in their place, against gradients of sines themselves."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    sines, problem, x = Sines(net), LocalLipschitz(LinfBall(3.0), Logit(0)), torch.zeros(1, 3, dtype=torch.float64)
    with pytest.raises(UnsupportedModel, match=r"estimator='spectral', of the same network with nn\.Tanh\(\)"):
        certify(sines, problem, x)
    points = (6.0 * torch.rand(500, 3, dtype=torch.float64) - 3.0).requires_grad_()
    (slopes,) = torch.autograd.grad(sines(points).sum(), points)
    assert slopes.abs().sum(1).max() <= certify(net, problem, x, estimator="spectral")[0].upper
