"""The audit under two training processes: the points are shared out, and the records are those of one process."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from lipreg.auditing import AuditPlan, audit
from lipreg.records import RunRecord, read_records
from tests.auditing.cases import NET, PROBLEM
from tests.auditing.test_processes import AMPLE, without_seconds
from tests.callbacks.distributed_audit_job import one_run
from tests.callbacks.ranks import Ranks
from tests.callbacks.test_audit import records
from tests.conformance.questions import EVERYTHING
from tests.forks import ForkServer


@pytest.fixture(scope="module")
def many() -> tuple[Any, ...]:
    """A network, a plan, twenty points, their labels, and their audit as a whole."""
    x = torch.rand(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    asked = NET, AuditPlan(PROBLEM, ("fastlip", "random_points", "lp"), AMPLE), x, torch.arange(20) % 3
    return *asked, audit(*asked)


@pytest.mark.parametrize("cuts", [(1, 16, 17, 19), *([(1,), (16,), (17,), (19,)] if EVERYTHING else [])], ids=str)
def test_a_share_of_the_points_has_the_records_of_all(cuts: tuple[int, ...], many: tuple[Any, ...]) -> None:
    net, plan, x, y, whole = many
    shares = [range(*ends) for ends in itertools.pairwise((0, *cuts, 20))]
    parts = [audit(net, plan, x, y, only=share) for share in shares]
    assert [len(part) for part in parts] == [len(share) for share in shares]
    assert without_seconds([p for part in parts for p in part]) == without_seconds(whole)
    assert audit(net, plan, x, y, only=range(7, 7)) == []


def told(folder: Path) -> list[Any]:
    found = records(folder)
    files = [folder / r.certificate_file for r in found if r.certificate_file]
    assert files and all(file.is_file() for file in files)
    return [(r.epoch, r.point, r.estimator, r.status, r.lower, r.upper, r.witness, r.certificate_file) for r in found]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")
def test_records_and_metrics_are_those_of_one_process(tmp_path: Path, programs: ForkServer) -> None:
    job = Ranks(programs, "tests.callbacks.distributed_audit_job", str(tmp_path))
    assert job.wait() == [0, 0], job.printed()[-3000:]
    alone = one_run(tmp_path / "alone")
    for name in ("here", "beside"):
        assert told(tmp_path / name) == told(tmp_path / "alone")
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{rank}.pt")[name]
            assert found["metrics"] == alone["metrics"]
    told_of = [r.settings["trainer"]["processes"] for r in read_records(tmp_path / "here") if isinstance(r, RunRecord)]
    assert told_of == [2]
    assert not list(tmp_path.rglob("*.partial"))
