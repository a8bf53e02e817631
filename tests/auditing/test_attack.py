"""Attacks: what they find is there, what a constant certifies they never find, and a batch is its points one by one."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from lipreg.auditing import Attack, AuditPlan, audit
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.outputs import AllMargins, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall, Region, UnitCube
from lipreg.transfer import is_certified


def network(seed: int = 0) -> nn.Sequential:
    """Three classes in the unit square, none of them everywhere."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 3)).double()
        net[2].bias -= net(torch.rand(500, 2, dtype=torch.float64)).median(0).values
    return net


@pytest.mark.parametrize(
    "region", [LinfBall(0.2), LinfBall(0.3, low=0.0, high=1.0), L2Ball(0.3), L1Ball(0.4), UnitCube()]
)
def test_in_the_plane_an_attack_finds_what_a_grid_finds(region: Region) -> None:
    net = network()
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = net(x).argmax(1)
    problem = LocalLipschitz(region, AllMargins())
    points = audit(net, AuditPlan(problem, ["fastlip"], 30.0), x, y)
    placed, grid = region.place(x), torch.linspace(0, 1, 121, dtype=torch.float64)
    spread = torch.tensor(list(itertools.product(grid, grid)), dtype=torch.float64)
    every = placed.lower.unsqueeze(1) + spread * (placed.upper - placed.lower).unsqueeze(1)
    other = ((net(every).argmax(-1) != y.unsqueeze(1)) & placed.contains(every)).any(1)
    attacked = torch.tensor([bool(p.attacked) for p in points])
    assert other.any() and (region == UnitCube() or not other.all())
    assert attacked[other].double().mean() >= 0.95
    assert attacked[~other].sum() <= 1  # a sliver between the points of the grid
    for point in points:
        record = point.records("run", 0)[0]
        assert record.attacked == point.attacked
        assert not (point.attacked and is_certified(record, point.combined.upper))


def test_a_point_has_the_same_answer_alone_in_a_batch_and_on_another_process() -> None:
    net, region = network(3), LinfBall(0.25)
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = torch.arange(20) % 3  # some are classified wrongly
    plan = AuditPlan(LocalLipschitz(region), ["fastlip"], 30.0)
    whole = [p.attacked for p in audit(net, plan, x, y)]
    assert whole == [audit(net, plan, x[i : i + 1], y[i : i + 1])[0].attacked for i in range(20)]
    assert [p.attacked for p in audit(net, plan, x, y, only=range(5, 9))] == whole[5:9]
    wrong = net(x).argmax(1) != y
    assert wrong.any() and all(whole[i] for i in wrong.nonzero().flatten())  # the point itself is of another class


def test_nothing_is_attacked_without_classes_or_when_nobody_asks_or_has_time() -> None:
    net, x, y = network(), torch.rand(3, 2, dtype=torch.float64), torch.tensor([0, 1, 2])
    scalar = LocalLipschitz(LinfBall(0.2), Vector())
    assert [p.attacked for p in audit(net, AuditPlan(scalar, ["fastlip"], 30.0), x)] == [None] * 3
    margins = LocalLipschitz(LinfBall(0.2))
    assert [p.attacked for p in audit(net, AuditPlan(margins, ["fastlip"], 30.0, attack=None), x, y)] == [None] * 3
    budget = Budget(30.0)
    budget.stop.set()
    stopped = audit(net, AuditPlan(margins, ["fastlip"], budget), x, y)
    assert all(p.attacked is None for p in stopped if p.correct)
    for wrong in ("pgd", 3):
        with pytest.raises(InvalidInput, match="an Attack, or None"):
            AuditPlan(margins, ["fastlip"], 30.0, attack=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="steps=0"):
        Attack(steps=0)
