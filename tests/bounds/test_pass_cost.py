"""Bounds within memory and time: parts of what is wanted are sound, and every layer has its turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lipreg import AllLogits, Bound, Budget, L2Ball, LinfBall, LocalLipschitz, UnitCube, estimate
from lipreg.bounds import ROW_MEMORY, Analysis, analyse, linear_jacobian
from lipreg.bounds.pass_cost import TimeShares
from lipreg.errors import InvalidInput
from lipreg.estimators import frozen_analysis
from lipreg.estimators.witnesses.witness import attained

X = torch.tensor([[0.1, -0.3, 0.2]], dtype=torch.float64)


@dataclass
class Ticking:
    """A clock that goes on by a second whenever it is read."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def wide() -> nn.Sequential:
    """Its layers have more entries than are bounded as a whole."""
    torch.manual_seed(2)
    layers = [nn.Linear(3, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 280), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(280, 2)).double()


def analysed(seconds: float, methods: tuple[str, ...] = ("interval", "crown")) -> Analysis:
    problem = LocalLipschitz(LinfBall(0.3), AllLogits())
    whole = frozen_analysis(NET, problem, X, None)
    with torch.no_grad():
        return analyse(
            whole.graph, whole.placed, methods, budget=Budget(seconds, memory=2**18, clock=Ticking()).started()
        )


NET = wide()


def test_every_layer_has_its_turn_and_its_widest_entries_come_first() -> None:
    """Bounds of a part of what is wanted lie between those of intervals and those of the whole, and hold every value."""
    interval, whole = analysed(math.inf, ("interval",)), analysed(math.inf)
    cut = analysed(60.0)
    words = "There was no time, in parts that fit into 256 KiB, for CROWN in 2 of 3 layers: before '3' and before '5'"
    assert cut.left_out == words and whole.left_out == ""
    points = cut.placed.region.sample(200, torch.Generator().manual_seed(0))
    values = cut.graph.values(points[0])
    for i, node in cut.graph.relus()[1:]:  # of the first layer intervals are exact
        at = node.source
        wide, part, tight = (each.value_bounds[at] for each in (interval, cut, whole))
        assert (wide.lower <= part.lower + 1e-12).all() and (part.lower <= tight.lower + 1e-9).all()
        assert (part.lower <= values[at] + 1e-9).all() and (values[at] <= part.upper + 1e-9).all()
        # what they start from is narrower than intervals of the layer before, whose bounds were cut too
        assert (part.upper < wide.upper - 1e-9).any(), i


def test_the_jacobian_has_parts_of_what_is_wanted_too() -> None:
    problem = LocalLipschitz(LinfBall(0.3), AllLogits())
    analysis = frozen_analysis(NET, problem, X, None, ("interval",))
    points = analysis.placed.region.sample(100, torch.Generator().manual_seed(0))
    seen = attained(analysis, points).amax()
    ends = []
    for seconds in (0.0, 30.0, 120.0, math.inf):
        own = frozen_analysis(NET, problem, X, None, ("interval",))
        found = linear_jacobian(own, Budget(seconds, memory=2**18, clock=Ticking()).started())
        ends.append(float(found.row_norms().amax()))
        assert ends[-1] >= float(seen)
        assert (found.left_out == "") == (seconds == math.inf)
    assert ends == sorted(ends, reverse=True) and ends[0] > ends[1] > ends[-1]


def test_turns_are_by_the_work_ahead() -> None:
    """Of two layers of equal size the second costs twice the first, whose row goes through half of the maps."""
    net, x = nn.Sequential(*[nn.Linear(8, 8), nn.ReLU()] * 3).double(), torch.zeros(1, 8, dtype=torch.float64)
    graph = frozen_analysis(net, LocalLipschitz(UnitCube(), AllLogits()), x, None).graph
    affine = [i for i, _ in graph.affines()[:2]]
    turns = TimeShares({i: graph.nodes[: i + 1] for i in affine}, graph.nodes)
    assert turns.next_share(affine[0]) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert turns.next_share(affine[1]) == 1.0
    assert turns.next_share(affine[1]) == 1.0, "a second pass has what is left"


def test_what_training_keeps_is_bounded_by_the_recipe() -> None:
    """A node whose rows do not fit keeps its intervals; a penalty's value does not depend on a clock."""
    problem = LocalLipschitz(LinfBall(0.3), AllLogits())
    whole, none = (
        estimate(NET, problem, X, bound=Bound("jacobian_crown", memory=memory)).detach() for memory in (ROW_MEMORY, 0)
    )
    interval = estimate(NET, problem, X, bound=Bound("fastlip", ["ball", "interval"])).detach()
    assert float(whole) < float(none) <= float(interval) * (1 + 1e-12)
    assert float(whole) == float(estimate(NET, problem, X, bound="jacobian_crown").detach())
    assert "memory" not in Bound("fastlip").describe() and Bound("fastlip", memory=5).describe()["memory"] == 5
    assert Bound("fastlip", memory=5).certified == Bound("fastlip").certified
    assert Bound("fastlip", memory=5) != Bound("fastlip")
    assert Bound("fastlip", memory=2.0**20) == Bound("fastlip", memory=2**20)  # type: ignore[arg-type]
    for wrong in (-1, 0.5, True):
        with pytest.raises(InvalidInput, match="memory"):
            Bound("fastlip", memory=wrong)  # type: ignore[arg-type]


def test_crown_over_a_box_leaves_out_the_first_layer_alone() -> None:
    """Where intervals are exact; over a ball they are not."""
    for region, exact in ((LinfBall(0.3), True), (L2Ball(0.3), False)):
        whole = frozen_analysis(NET, LocalLipschitz(region, AllLogits()), X, None)
        with torch.no_grad():
            both, alone = (analyse(whole.graph, whole.placed, m) for m in (("interval", "crown"), ("interval",)))
        first = whole.graph.relus()[0][1].source
        assert torch.equal(both.value_bounds[first].upper, alone.value_bounds[first].upper) == exact
