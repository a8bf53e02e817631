"""Both callbacks on a network that is not piecewise linear."""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from lipreg.budget import Budget
from lipreg.callbacks import AuditLog, LipschitzAudit
from lipreg.records import AuditRecord, read_records
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit, regularizer


def test_a_tanh_network_is_penalised_and_audited(tmp_path: Path) -> None:
    model, data = Classifier(), batches()
    model.net[1] = nn.Tanh()
    audit = LipschitzAudit(
        PROBLEM,
        points=2,
        estimators=("affine_relu", "mixing", "branch_and_bound"),
        budget=Budget(8.0, gap=0.2),
        log=AuditLog(progress=False),
        folder=str(tmp_path),
    )
    run = fit(model, data, regularizer(bound="fastlip"), audit, validation=data)
    assert run.callback_metrics["lipreg/bound_mean"] > 0
    found = [r for r in read_records(tmp_path / "records.jsonl") if isinstance(r, AuditRecord)]
    ends = {(r.epoch, r.point, r.estimator): r for r in found}
    assert {r.point for r in found} == {0, 1}
    for (epoch, point, name), interval in ends.items():
        assert name not in ("mip", "lp") and interval.upper <= math.inf
        exact = ends.get((epoch, point, "combined"))
        if exact is not None:
            assert 0 < exact.lower <= exact.upper < math.inf and exact.lower <= interval.upper
    assert {epoch for epoch, _, name in ends if name == "combined"}
