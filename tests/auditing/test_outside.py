"""Points that rounding put outside of their region: what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import lipreg
from lipreg import Box, L2Ball, LinfBall, LocalLipschitz, Logit, Polytope
from lipreg.records import AuditRecord, read_records

AWAY = 1e-7
"""What a rounding of float32 may put a point near 1 outside by."""


def falling(kink: float) -> nn.Module:
    """x -> relu(kink - x)."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU()).double()
    with torch.no_grad():
        net[0].weight.fill_(-1.0)
        net[0].bias.fill_(kink)
    return net


@pytest.mark.parametrize(
    "region",
    [LinfBall(0.5, 0.0, 1.0), L2Ball(0.5, 0.0, 1.0), Box(0.0, 1.0), Polytope([[1.0], [-1.0]], [1.0, 0.0])],
    ids=lambda region: type(region).__name__,
)
def test_a_point_outside_is_said_wherever_its_constant_is(region: lipreg.Region, tmp_path: Path) -> None:
    # the region about 1 + 1e-7 itself ends before the kink, the one about 1 does not
    x = torch.tensor([[1.0 + AWAY], [0.75]], dtype=torch.float64)
    found = lipreg.audit(falling(0.5 + AWAY / 2), LocalLipschitz(region, Logit(0)), x)
    assert found.points[0].outside == pytest.approx(AWAY, rel=1e-3)
    assert found.points[1].outside == 0
    assert "point 0 lay outside by up to 1e-7: the region is around the nearest point inside" in found.table()
    saved = [
        record for record in read_records(found.save(tmp_path / "records.jsonl")) if isinstance(record, AuditRecord)
    ]
    assert {(record.point, record.outside > 0) for record in saved} == {(0, True), (1, False)}


def test_nothing_is_said_where_every_point_lies_inside() -> None:
    found = lipreg.audit(falling(0.5), LocalLipschitz(LinfBall(0.5, 0.0, 1.0), Logit(0)), torch.tensor([[1.0]]))
    assert "outside" not in found.table()


def test_a_certificate_says_so_too() -> None:
    x = torch.tensor([[1.0 + AWAY]], dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.5, 0.0, 1.0), Logit(0))
    found = lipreg.audit(falling(0.4), problem, x, certificates=True)
    assert found.certificates is not None
    assert "outside" in found.certificates.written[0].plain["producer"]["point"]
