"""Select says what is wrong with the names that it is given, and keeps a network's weights as they are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import capture


class _Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 3)

    def forward(self, state: Tensor, goal: Tensor) -> dict[str, Tensor]:
        return {"action": self.a(torch.cat([state, goal], 1)).relu()}


GOAL = torch.ones(1, 2)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"output": "action", "fixed": {"aim": GOAL}}, "'aim'.*'state', 'goal'"),
        ({"output": "action", "input": "x", "fixed": {"goal": GOAL}}, "input='x'.*'state', 'goal'"),
        ({"output": "action", "fixed": {"goal": torch.ones(4, 2)}}, r"\(4, 2\).*point by point"),
        ({"output": "action", "fixed": {"goal": GOAL, "state": torch.ones(1, 3)}}, "left to move"),
        ({"output": "acts", "fixed": {"goal": GOAL}}, "output='acts'.*'action'"),
    ],
    ids=["name", "input", "points", "nothing", "output"],
)
def test_names_that_are_not_there(how: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        capture(lipreg.Select(_Policy(), **how), torch.zeros(1, 3))


def test_an_output_of_one_tensor_and_no_module() -> None:
    with pytest.raises(InvalidInput, match=r"one tensor.*Leave it out"):
        capture(lipreg.Select(nn.Linear(3, 2), 0), torch.zeros(1, 3))
    with pytest.raises(InvalidInput, match=r"torch\.nn\.Module"):
        lipreg.Select(lambda x: x, 0)  # type: ignore[arg-type]


def test_weights_are_shared_and_move_with_what_is_fixed() -> None:
    policy = _Policy()
    network = lipreg.Select(policy, "action", fixed={"goal": GOAL}).double()
    assert network.get_parameter("network.a.weight") is policy.a.weight and "fixed_goal" not in network.state_dict()
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bounds = lipreg.estimate(network, lipreg.LocalLipschitz(lipreg.LinfBall(9.0), lipreg.AllLogits()), x)
    bounds.sum().backward()
    assert (bounds > 0).all() and policy.a.weight.grad is not None
    assert policy.a.weight.grad[:, :3].abs().sum() > 0 == policy.a.weight.grad[:, 3:].abs().sum()


def test_made_where_it_is_used_it_is_no_part_of_the_module() -> None:
    class Agent(nn.Module):
        """Its policy at a fixed goal, as a property and within a forward."""

        def __init__(self) -> None:
            super().__init__()
            self.policy = _Policy()

        @property
        def at_goal(self) -> nn.Module:
            return lipreg.Select(self.policy, "action", fixed={"goal": GOAL})

        def forward(self, state: Tensor) -> Tensor:
            return nn.Hardtanh(-0.2, 0.7)(self.at_goal(state))

    agent, x = Agent(), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert list(agent.state_dict()) == ["policy.a.weight", "policy.a.bias"]
    for network in (agent, agent.at_goal):
        captured = capture(network, x)
        torch.testing.assert_close(captured.live()(x), network(x))
        agent.policy.a.weight.grad = None
        captured.live()(x).sum().backward()
        assert agent.policy.a.weight.grad is not None


def test_weights_that_are_nobody_s_are_refused() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(3, 3)]

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[0](x)

    with pytest.raises(UnsupportedModel, match=r"a Linear whose weights are not among its own.*nn\.ModuleList"):
        capture(Listed(), torch.zeros(1, 3))


def test_the_advice_on_lists_within_dicts_is_what_works() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
            return {"y": [torch.relu(self.a(x)), x]}

    network, advice = Both(), "lipreg.Select(lipreg.Select(network, output='y'), output=0)"
    for asked, got in ((network, "dict with 'y'"), (lipreg.Select(network, "y"), "list with 0, 1")):
        with pytest.raises(UnsupportedModel, match=rf"forward returns {got}\..*{re.escape(advice)}"):
            capture(asked, torch.zeros(1, 3))
    assert capture(eval(advice, {"lipreg": lipreg, "network": network}), torch.zeros(1, 3)).frozen().output.shape == (
        2,
    )
