"""The doors to bounds and certificates: what they check of a network before any work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Logit, certify
from lipreg.errors import InvalidInput


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
