"""Claims that a square proves with next to nothing to spare: whole numbers lose no more of them than rounding does."""

from __future__ import annotations

import math

import torch
from torch import nn

import lipreg
from lipreg.records import AuditRecord


def trained(seed: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small classifier that has learnt its points, whose logits are large."""
    torch.manual_seed(seed)
    x, w = torch.rand(200, 8), torch.randn(8, 3)
    y = (x @ w + 0.5 * torch.sin(6 * x @ w)).argmax(1)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2, weight_decay=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.double(), x.double(), y


def test_every_exact_point_of_a_trained_network_has_a_certificate() -> None:
    net, x, y = trained(3)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.1, low=0.0, high=1.0), p=math.inf)
    found = lipreg.audit(net, problem, x[:16], y[:16], estimators=["branch_and_bound"], certificates=True)
    exact = [r for r in found.records if isinstance(r, AuditRecord) and r.estimator == "combined" and r.is_exact]
    assert len(exact) == 16 and all(record.certificate_file for record in exact), found.table()
