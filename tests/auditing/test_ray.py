"""Audits on Ray: the same records in the same order, faults that cost one search, and nothing heard outside the machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lipreg.auditing import AuditPlan, Ray, audit, processes, ray_cluster
from lipreg.errors import InvalidInput, MissingExtra
from lipreg.estimators import Estimator
from lipreg.results import Status
from lipreg.testing import check_executor
from tests.auditing import cases
from tests.auditing.cases import NET, PROBLEM, Registers, X, Y
from tests.auditing.processes import alive, descendants, wait_until_dead
from tests.auditing.test_processes import AMPLE, pids, without_seconds
from tests.conformance.questions import of_test_all
from tests.conftest import ROOT

has_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: lipreg[ray]")
pytestmark = pytest.mark.slow
LISTENS = "0A"


@pytest.fixture(scope="module")
def on_ray() -> Iterator[Ray]:
    """Two actors of one cluster, started once: it takes ten seconds, and computes even where nobody asks it anything."""
    with Ray(2) as pool:
        yield pool


# ---------------------------------------------------------------- choosing


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:10001", "nowhere", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"no Ray cluster at .*HOST:PORT"):
        ray_cluster._check_reachable(address)


# ---------------------------------------------------------------- on a cluster


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else find(name, *rest))
    with pytest.raises(MissingExtra, match=r"ray is not installed.*inline, processes.*pip install 'lipreg\[ray\]'"):
        audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X, Y, executor="ray")


@has_ray
def test_records_are_those_of_this_process(on_ray: Ray) -> None:
    plan = AuditPlan(PROBLEM, budget=AMPLE)
    seen: list[Any] = []
    points = audit(NET, plan, X, Y, seen.append, executor=on_ray)
    assert seen == points
    assert without_seconds(points) == without_seconds(audit(NET, plan, X, Y))
    before = pids(on_ray)
    audit(NET, AuditPlan(PROBLEM, ("lp",)), X, Y, executor=on_ray)
    assert pids(on_ray) == before, "kept between audits"


@has_ray
def test_everything_listens_on_loopback(on_ray: Ray) -> None:
    audit(NET, AuditPlan(PROBLEM, ("lp",)), X, Y, executor=on_ray)
    listening = list(_listening(descendants(os.getpid())))
    assert len(listening) > 4
    assert {address for address, _ in listening} <= {"0100007F", "0000000000000000FFFF00000100007F"}, listening


@has_ray
@pytest.mark.parametrize(
    "kind, says",
    [
        (cases.Killed, "its process died: ActorDiedError"),
        pytest.param(cases.Exits, "SystemExit: enough", marks=of_test_all),
        pytest.param(cases.Unreadable, "pickle", marks=of_test_all),
    ],
)
def test_a_fault_costs_one_search_at_one_point(
    on_ray: Ray, known_as: Registers, kind: type[Estimator], says: str
) -> None:
    plan = AuditPlan(PROBLEM, ("fastlip", "lp", known_as("faulty", kind), "random_points"), AMPLE)
    points = audit(NET, plan, X, Y, executor=on_ray)
    assert [p.intervals["faulty"].status for p in points] == [
        Status.FAILED if p.point == 1 else Status.BOUNDED for p in points
    ]
    assert says in points[1].intervals["faulty"].detail
    for p in points:
        assert p.intervals["lp"].status is Status.BOUNDED
        assert p.combined.lower == p.intervals["random_points"].lower > 0


@has_ray
@of_test_all
def test_what_a_killed_actor_was_at_is_done_by_another(
    on_ray: Ray, known_as: Registers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, mark = ray_cluster.worker_environment(), str(tmp_path / "mark")
    monkeypatch.setattr(ray_cluster, "worker_environment", lambda: {**own, cases.KilledOnce.MARK: mark})
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("killed_once", cases.KilledOnce), "lp", "random_points"), AMPLE)
    for actor in list(on_ray._processes):
        actor.kill()  # new ones know the mark
    killed = audit(NET, plan, X, Y, executor=on_ray)
    assert Path(mark).exists()
    assert without_seconds(killed) == without_seconds(audit(NET, plan, X, Y, executor=on_ray))


@has_ray
@of_test_all
def test_a_hanging_search_is_ended(on_ray: Ray, known_as: Registers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE", 1.0)
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("hangs", cases.Hangs)), budget=40.0)  # 2 seconds a point
    points = audit(NET, plan, X, Y, executor=on_ray)
    assert points[1].intervals["hangs"].status is Status.TIME_LIMIT
    assert points[1].combined.upper == points[1].intervals["fastlip"].upper


@has_ray
def test_a_stop_reaches_the_searches(on_ray: Ray, known_as: Registers) -> None:
    stop = threading.Event()
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("waits", cases.Waits)), budget=3000.0)
    threading.Timer(3.0, stop.set).start()
    began = time.monotonic()
    points = audit(NET, plan, X, Y, stop=stop, executor=on_ray)
    assert time.monotonic() - began < 300  # of the budget's 3000
    assert Status.INTERRUPTED in {p.intervals["waits"].status for p in points}


@has_ray
def test_what_cannot_be_sent_is_refused(on_ray: Ray, known_as: Registers) -> None:
    kind = type("Typed", (cases.AtSecond,), {"__module__": "__main__", "act": lambda self, budget: None})
    with pytest.raises(InvalidInput, match=r"Typed is defined in __main__"):
        audit(NET, AuditPlan(PROBLEM, (known_as("typed", kind),)), X, Y, executor=on_ray)


SCRIPT = """
import sys, time, torch
from torch import nn
from lipreg import AllLogits, LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, Ray, audit

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
pool = Ray(1, sys.argv[1])
points = audit(net, AuditPlan(LocalLipschitz(LinfBall(0.3), AllLogits()), ("lp",)), torch.zeros(3, 2), executor=pool)
print("done", [p.combined.upper > 0 for p in points], pool._processes[0].pid, flush=True)
time.sleep(600)
"""


@has_ray
@of_test_all
def test_another_program_joins_by_address_and_its_death_frees_the_actors(on_ray: Ray, tmp_path: Path) -> None:
    audit(NET, AuditPlan(PROBLEM, ("lp",)), X, Y, executor=on_ray)  # the cluster is up
    address = on_ray._cluster.ray.get_runtime_context().gcs_address
    (tmp_path / "script.py").write_text(SCRIPT)
    program = subprocess.Popen(
        [sys.executable, "script.py", address],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        line = program.stdout.readline()
        assert line.startswith("done [True, True, True]")
        actor = int(line.split()[-1])
        assert alive(actor)
    finally:
        program.kill()
        program.communicate()
    assert wait_until_dead([actor])
    assert audit(NET, AuditPlan(PROBLEM, ("lp",)), X, Y, executor=on_ray), "the cluster is not the program's"


def _listening(pids: set[int]) -> Iterator[tuple[str, int]]:
    """Addresses, as /proc writes them, on which any of the processes listens."""
    owners: dict[str, int] = {}
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            if target.startswith("socket:["):
                owners[target[8:-1]] = pid
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in owners:
                yield fields[1].split(":")[0], owners[fields[9]]


@has_ray
@of_test_all
def test_it_keeps_what_executors_promise(on_ray: Ray) -> None:
    """But for what ends its actors, which other tests here share."""
    check_executor(on_ray, aspects=["results", "tasks", "faults", "listeners"])
