"""Questions about every output of networks that have very many: what needs no rows answers, the rest refuses in words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lipreg import AllLogits, LinfBall, LocalLipschitz, Vector, identity
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify
from lipreg.identity import Identity
from tests import oracles

RULES = ("spectral", "affine_relu")


def wide() -> nn.Module:
    """36 outputs."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.Flatten()).double()


POINT = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("estimator", RULES)
@pytest.mark.parametrize(
    ("p", "q"), [(1, 1), (2, 2), (math.inf, math.inf), (2, math.inf), (1, math.inf), (math.inf, None)]
)
def test_products_without_rows_are_those_with(
    estimator: str, p: float, q: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = AllLogits() if q is None else Vector()
    problem = LocalLipschitz(LinfBall(0.2), output, p=p, q=q)
    (with_rows,) = certify(wide(), problem, POINT, estimator=estimator)
    monkeypatch.setattr(identity, "MANY", 8)
    monkeypatch.setattr(identity, "machine_memory", lambda: 1000)
    (without,) = certify(wide(), problem, POINT, estimator=estimator)
    assert without.upper == pytest.approx(with_rows.upper, rel=1e-8)
    scaled = replace(problem, scale=0.5)
    (half,) = certify(wide(), scaled, POINT, estimator=estimator)
    assert half.upper == pytest.approx(0.5 * with_rows.upper, rel=1e-8)


def test_what_needs_rows_says_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "machine_memory", lambda: 2**31)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Flatten()).double()
    problem = LocalLipschitz(LinfBall(0.01), Vector())
    x = torch.zeros(1, 1, 64, 64).double()  # 32,768 outputs
    for estimator in ("fastlip", "jacobian_crown", "random_points", "branch_and_bound"):
        with pytest.raises(
            UnsupportedRequest, match="32,768 outputs takes at least 32 GiB, and this machine has 2 GiB"
        ):
            certify(net, problem, x, estimator=estimator)
    (found,) = certify(net, problem, x)
    rows = net[0].weight.detach().abs().sum((1, 2, 3))
    assert found.proof == "affine_relu-all" and found.upper == pytest.approx(float(rows.max()))


def test_rows_are_written_down_when_they_are_read() -> None:
    net, problem = oracles.network("deep"), LocalLipschitz(LinfBall(0.1), Vector())
    x = torch.zeros(3, 2).double()
    placed = problem.place(x, net(x))
    outputs = net(x).shape[1]
    assert isinstance(placed.coefficients, Identity) and placed.count == outputs
    assert torch.equal(placed.rows, torch.eye(outputs).double().expand(3, -1, -1))
    assert placed[1:].batch == 2 and placed[1:].rows.shape == (2, outputs, outputs)
    assert placed.rows is placed.rows
