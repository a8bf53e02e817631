"""The page of networks of which nothing is known but their weights says nothing of epochs or penalties."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import lipreg
from lipreg import LinfBall, LocalLipschitz
from lipreg.disks import FullDisk
from tests.disks import no_larger_than


def test_a_plain_audit_draws_no_course_of_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(2, 3)
    found = lipreg.audit(net, LocalLipschitz(LinfBall(0.05)), x, torch.tensor([0, 1]), budget=20.0)
    page = found.html(tmp_path / "audit.html").read_text(encoding="utf-8")
    assert '"trained":false' in page and '"trained":true' not in page
    assert ", the bound that the penalty lowers" not in page
    with (
        no_larger_than(1000),
        pytest.raises(FullDisk, match=r"another place\. .* which save\(\) and --records keep\.$"),
    ):
        found.html(tmp_path / "again.html")
