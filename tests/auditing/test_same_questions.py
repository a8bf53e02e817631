"""Points that ask the same question over a fixed region: it is searched once, and all of them have its interval."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lipreg import AllMargins, Box, LinfBall, LocalLipschitz, Vector, WholeSpace, certify
from lipreg.auditing import AuditPlan, audit
from lipreg.estimators.exact import branch_and_bound
from lipreg.outputs import Output
from lipreg.regions import Region
from lipreg.results import Certificate
from tests import oracles

X = torch.tensor([[0.1, 0.2], [0.7, 0.3], [0.4, 0.9], [0.2, 0.6]], dtype=torch.float64)
Y = torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("region", "output", "first"),
    [
        (Box(0.0, 1.0), Vector(), [0, 0, 0, 0]),
        (WholeSpace(), AllMargins(), [0, 1, 0, 1]),
        (Box(0.0, 1.0), AllMargins(), [0, 1, 0, 1]),
        (LinfBall(0.5), Vector(), [0, 1, 2, 3]),
    ],
    ids=["box", "all of R^n", "box, margins", "balls"],
)
def test_it_is_searched_once(monkeypatch: pytest.MonkeyPatch, region: Region, output: Output, first: list[int]) -> None:
    net, problem = oracles.mlp(2, 5, 3).double(), LocalLipschitz(region, output)
    alone = [certify(net, problem, x[None], y[None])[0] for x, y in zip(X, Y, strict=True)]
    searched: list[Tensor] = []
    real = branch_and_bound.BranchAndBound.search_point

    def search_point(self: branch_and_bound.BranchAndBound, search: branch_and_bound.PointSearch) -> object:
        searched.append(search.network.placed.region.center)
        return real(self, search)

    monkeypatch.setattr(branch_and_bound.BranchAndBound, "search_point", search_point)
    found = {
        "certify": certify(net, problem, X, Y),
        "engine": certify(net, problem, X, Y, estimator="branch_and_bound"),
        "audit": [point.combined for point in audit(net, AuditPlan(problem, ("branch_and_bound",), 600.0), X, Y)],
    }
    assert len(searched) == 3 * len(set(first))
    for intervals in found.values():
        for i, (own, interval) in enumerate(zip(alone, intervals, strict=True)):
            assert interval.certificate is Certificate.EXACT
            assert interval.upper == pytest.approx(own.upper, rel=2e-6)
            assert (interval.subject, interval.functional) == (own.subject, own.functional)
            assert interval.upper == intervals[first[i]].upper


def test_an_audit_of_some_of_the_points_searches_among_those() -> None:
    net, problem = oracles.mlp(2, 5, 3).double(), LocalLipschitz(Box(0.0, 1.0), Vector())
    whole = audit(net, AuditPlan(problem, ("branch_and_bound",), 600.0), X)
    part = audit(net, AuditPlan(problem, ("branch_and_bound",), 600.0), X, only=range(2, 4))
    assert [p.point for p in part] == [2, 3]
    assert [p.combined.upper for p in part] == pytest.approx([p.combined.upper for p in whole[2:]], rel=2e-6)
