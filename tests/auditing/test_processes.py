"""Audits in worker processes: the same answers, faults that cost one point, and nothing left behind."""

from __future__ import annotations

import copy
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipreg.auditing import COMBINED, AuditPlan, PointAudit, Processes, audit, process, processes
from lipreg.budget import Budget
from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.estimators import Estimator
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate, Status
from tests import oracles
from tests.auditing import cases
from tests.auditing.cases import NET, PROBLEM, Registers, X, Y, truth
from tests.auditing.processes import alive, wait_until_dead
from tests.conftest import ROOT

AMPLE = 600.0
"""Seconds, for audits whose processes have to be started anew: on a busy machine that takes many."""


def without_seconds(points: list[PointAudit]) -> list[Any]:
    records = [r for p in points for r in p.records("run", 0)]
    return [replace(r, seconds=0.0) for r in records]


def pids(pool: Processes) -> list[int]:
    return [p.pid for p in pool._processes]


# ---------------------------------------------------------------- the same answers


def test_results_and_records_are_the_same_in_the_same_order(shared_workers: Processes) -> None:
    plan = AuditPlan(PROBLEM, budget=AMPLE)
    seen: list[PointAudit] = []
    one, two = audit(NET, plan, X, Y), audit(NET, plan, X, Y, seen.append, executor=shared_workers)
    assert seen == two
    assert [p.point for p in two] == list(range(5))
    assert without_seconds(one) == without_seconds(two)
    for p in two:
        assert p.combined.certificate is Certificate.EXACT
        assert p.combined.lower <= truth(p.point) * (1 + 1e-9)
        assert p.combined.upper >= truth(p.point) * (1 - 1e-9)


def test_more_points_than_a_block_and_own_preactivations(shared_workers: Processes) -> None:
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.2), AllLogits())
    plan = AuditPlan(problem, ("affine_relu", "random_points", "lp"), AMPLE)
    one, two = audit(NET, plan, x), audit(NET, plan, x, executor=shared_workers)
    assert without_seconds(one) == without_seconds(two)
    alone = audit(NET, AuditPlan(problem, ("affine_relu",)), x[16:17])
    assert two[16].intervals["affine_relu"].upper == pytest.approx(alone[0].intervals["affine_relu"].upper, rel=1e-12)


def test_the_world_is_left_as_it_was(shared_workers: Processes, known_as: Registers) -> None:
    net = oracles.network("deep").train()
    net[1].eval()
    weights, modes, threads = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()], 3
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    try:
        torch.set_num_threads(threads)
        plan = AuditPlan(PROBLEM, ("mip", known_as("chatty", cases.Chatty), "random_points"), AMPLE)
        audit(net, plan, X, Y, executor=shared_workers)
        audit(net, plan, X, Y)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert modes == [m.training for m in net.modules()]
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())


@pytest.mark.usefixtures("fresh_workers")
def test_workers_have_one_thread_no_accelerator_and_no_lightning(known_as: Registers) -> None:
    import pytorch_lightning  # noqa: F401  (loaded here, not there)

    plan = AuditPlan(PROBLEM, (known_as("environment", cases.Environment),))
    with Processes(1) as pool:
        details = [p.intervals["environment"].detail for p in audit(NET, plan, X, Y, executor=pool)]
        assert {int(d.split(",")[0].split()[1]) for d in details} == set(pids(pool)) != {os.getpid()}
    for detail in details:
        assert "1 threads, lightning False, cuda ''" in detail


def test_processes_are_kept_between_audits_and_end_with_the_pool() -> None:
    plan = AuditPlan(PROBLEM, ("lp",))
    with Processes(1) as pool:
        assert pids(pool) == []
        audit(NET, plan, X, Y, executor=pool)
        before = pids(pool)
        audit(NET, plan, X, Y, executor=pool)
        assert pids(pool) == before and len(before) == 1
        os.kill(before[0], signal.SIGKILL)  # while nothing is asked of it
        wait_until_dead(before)
        assert pool._processes[0].channel.poll(60)  # its last thread may end, and close the connection, a moment later
        for p in audit(NET, plan, X, Y, executor=pool):
            assert p.intervals["lp"].status is Status.BOUNDED
        after = pids(pool)
        assert after != before
        copied = pickle.loads(pickle.dumps(pool))
        assert (copied.slots, pids(copied)) == (1, [])
    assert wait_until_dead(after)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "kind, says",
    [
        (cases.Killed, "its process died: killed by SIGKILL, the last of 2"),
        (cases.Segfault, "its process died: killed by SIGSEGV"),
        (cases.Exits, "SystemExit: enough"),
        (cases.Exhausted, "MemoryError: no more"),
        (cases.Unreadable, "cannot pickle"),
    ],
)
def test_a_fault_costs_one_search_at_one_point(
    shared_workers: Processes, known_as: Registers, kind: type[Estimator], says: str
) -> None:
    plan = AuditPlan(PROBLEM, ("fastlip", "lp", known_as("faulty", kind), "lp_no_triangle", "random_points"), AMPLE)
    points = audit(NET, plan, X, Y, executor=shared_workers)
    assert [p.intervals["faulty"].status for p in points] == [
        Status.FAILED if p.point == 1 else Status.BOUNDED for p in points
    ]
    failed = points[1].intervals["faulty"]
    assert says in failed.detail and COMBINED not in failed.detail
    assert (failed.lower, failed.upper) == (0.0, math.inf)
    assert failed.subject and failed.functional
    for p in points:  # the searches before and after the fault are kept, and so is everything at other points
        assert p.intervals["lp"].status is p.intervals["lp_no_triangle"].status is Status.BOUNDED
        assert (
            p.combined.upper == min(p.intervals[name].upper for name in ("lp", "lp_no_triangle", "fastlip")) < math.inf
        )
        assert p.combined.lower == p.intervals["random_points"].lower > 0
        p.records("run", 0)


@pytest.mark.parametrize("kind", [cases.KilledOnce, cases.KilledOnceInBlock])
def test_what_a_killed_process_was_at_is_done_by_another(
    known_as: Registers, kind: type[Estimator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cases.KilledOnce.MARK, str(tmp_path / "mark"))
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("killed_once", kind), "lp", "random_points"), AMPLE)
    with Processes(1) as pool:
        killed = audit(NET, plan, X, Y, executor=pool)
        assert (tmp_path / "mark").exists()
        assert without_seconds(killed) == without_seconds(audit(NET, plan, X, Y, executor=pool))
    assert {p.intervals["killed_once"].status for p in killed} == {Status.BOUNDED}


def test_a_crash_among_the_closed_forms_is_traced_to_its_point(shared_workers: Processes, known_as: Registers) -> None:
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("faulty", cases.KilledInBlock), "lp"), AMPLE)
    points = audit(NET, plan, X, Y, executor=shared_workers)
    for p in points:
        assert p.intervals["faulty"].status is (Status.FAILED if p.point == 1 else Status.BOUNDED)
        assert p.intervals["lp"].status is p.intervals["fastlip"].status is Status.BOUNDED


def test_a_hanging_search_is_ended(
    shared_workers: Processes, known_as: Registers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 1.0)
    plan = AuditPlan(PROBLEM, ("fastlip", "lp", known_as("hangs", cases.Hangs)), budget=40.0)  # 2 seconds a point
    began = time.monotonic()
    points = audit(NET, plan, X, Y, executor=shared_workers)
    assert time.monotonic() - began < 300  # it hangs for 600
    for p in points:
        assert p.intervals["hangs"].status is (Status.TIME_LIMIT if p.point == 1 else Status.BOUNDED)
        assert p.intervals["lp"].status is Status.BOUNDED
    assert "its process was ended" in points[1].intervals["hangs"].detail


def test_a_search_that_hangs_everywhere_does_not_hang_the_audit(
    known_as: Registers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.5)
    monkeypatch.setattr("lipreg.auditing.schedule.OVERTIME", 1.0)
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("hangs", cases.HangsEverywhere)), budget=0.2)
    began = time.monotonic()
    with Processes(1) as pool:
        points = audit(NET, plan, X, Y, executor=pool)
    assert time.monotonic() - began < 300
    assert {p.intervals["hangs"].status for p in points} == {Status.TIME_LIMIT}
    assert all(p.combined.upper == min(part.upper for part in p.intervals.values()) < math.inf for p in points)


def test_where_a_closed_form_hangs_the_product_of_norms_stands(
    known_as: Registers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.5)
    plan = AuditPlan(PROBLEM, (known_as("hangs", cases.HangsInBlock),), budget=0.2)
    with Processes(1) as pool:
        points = audit(NET, plan, X, Y, executor=pool)
    assert {p.intervals["hangs"].status for p in points} == {Status.TIME_LIMIT}
    assert all(p.combined.upper < math.inf and p.combined.proof == "spectral" for p in points)


def test_a_contradiction_is_raised_after_earlier_points(shared_workers: Processes, known_as: Registers) -> None:
    seen: list[PointAudit] = []
    plan = AuditPlan(PROBLEM, ("random_points", known_as("wrong", cases.Wrong)))
    with pytest.raises(CrossingBounds, match=r"exceeds upper 0\.001"):
        audit(NET, plan, X, Y, seen.append, executor=shared_workers)
    assert [p.point for p in seen] == [0]


def test_workers_that_cannot_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('broken on purpose')\n")
    own = process.worker_environment()
    monkeypatch.setattr(
        process, "worker_environment", lambda: {**own, "PYTHONPATH": f"{tmp_path}{os.pathsep}{own['PYTHONPATH']}"}
    )
    with pytest.warns(UserWarning, match="exit status 1, ImportError: broken on purpose"):
        points = audit(NET, AuditPlan(PROBLEM), X, Y, executor=Processes(2))
    assert all(p.combined.certificate is Certificate.EXACT for p in points)


def test_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.warns(UserWarning, match="/nowhere/python"):
        points = audit(NET, AuditPlan(PROBLEM, ("lp",)), X, Y, executor=Processes(2))
    assert all(p.intervals["lp"].status is Status.BOUNDED for p in points)


def test_what_cannot_be_sent_is_refused(shared_workers: Processes, known_as: Registers) -> None:
    class Local(cases.AtSecond):
        def act(self, budget: Budget) -> None:
            pass

    with pytest.raises(InvalidInput, match=r"cannot be sent.*executor=\"inline\""):
        audit(NET, AuditPlan(PROBLEM, (known_as("local", Local),)), X, Y, executor=shared_workers)
    kind = type("Typed", (cases.AtSecond,), {"__module__": "__main__", "act": lambda self, budget: None})
    with pytest.raises(InvalidInput, match=r"Typed is defined in __main__.*executor=\"inline\""):
        audit(NET, AuditPlan(PROBLEM, (known_as("typed", kind),)), X, Y, executor=shared_workers)
    assert len(audit(NET, AuditPlan(PROBLEM, ("local",)), X, Y)) == 5


def test_points_that_are_not_numbers(shared_workers: Processes) -> None:
    x = X.clone()
    x[2, 1] = math.nan
    with pytest.raises(InvalidInput, match="reference point 2 holds NaN"):
        audit(NET, AuditPlan(PROBLEM), x, Y, executor=shared_workers)


@pytest.mark.parametrize("count", [0, -1, "many", 1.5, True, None])
def test_counts_that_cannot_be(count: Any) -> None:
    with pytest.raises(InvalidInput, match='a whole number of at least 1, or "auto"'):
        audit(NET, AuditPlan(PROBLEM, ("fastlip",)), X, Y, executor={"kind": "processes", "count": count})
    with pytest.raises(InvalidInput, match="count="):
        Processes(count)


def test_auto_is_the_cores_that_may_be_used() -> None:
    assert Processes("auto").slots == len(os.sched_getaffinity(0))


# ---------------------------------------------------------------- stops


def test_stopped_before_the_start() -> None:
    stop = threading.Event()
    stop.set()
    with Processes(2) as pool:
        points = audit(NET, AuditPlan(PROBLEM, ("fastlip", "mip")), X, Y, stop=stop, executor=pool)
        assert pids(pool) == [], "not worth starting processes for"
    for p in points:
        assert p.intervals["mip"].status is Status.INTERRUPTED or p.combined.certificate is Certificate.EXACT
        assert p.combined.upper <= p.intervals["fastlip"].upper < math.inf


def test_a_stop_reaches_the_searches(shared_workers: Processes, known_as: Registers) -> None:
    stop = threading.Event()
    plan = AuditPlan(PROBLEM, ("fastlip", known_as("waits", cases.Waits)), budget=3000.0)
    timer = threading.Timer(2.0, stop.set)
    timer.start()
    began = time.monotonic()
    points = audit(NET, plan, X, Y, stop=stop, executor=shared_workers)
    assert time.monotonic() - began < 300  # of the budget's 3000
    statuses = [p.intervals["waits"].status for p in points]
    assert Status.INTERRUPTED in statuses
    assert all(p.combined.upper == min(p.intervals["fastlip"].upper, 1e3) for p in points)


def test_a_budget_longer_than_any_clock(shared_workers: Processes) -> None:
    for p in audit(NET, AuditPlan(PROBLEM, ("mip", "random_points"), budget=1e15), X, Y, executor=shared_workers):
        assert p.combined.certificate is Certificate.EXACT


def test_a_budget_smaller_than_the_start() -> None:
    points = audit(NET, AuditPlan(PROBLEM, ("fastlip", "lp"), budget=0.3), X, Y, executor=Processes(2))
    for p in points:  # the start is not counted, so there is time for these
        assert p.intervals["lp"].status in (Status.BOUNDED, Status.TIME_LIMIT)
        assert p.combined.upper <= p.intervals["fastlip"].upper


# ---------------------------------------------------------------- other programs

SCRIPT = """
import os, sys, torch, threading, time
print("script runs", flush=True)
from torch import nn
from lipreg import LinfBall, LocalLipschitz, AllLogits
from lipreg.auditing import AuditPlan, Processes, audit

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
problem = LocalLipschitz(LinfBall(0.3), AllLogits())
pool = Processes(2)
points = audit(net, AuditPlan(problem, ("lp",)), torch.zeros(3, 2), executor=pool)
print("pids", *(p.pid for p in pool._processes), flush=True)
"""


def run_script(body: str, folder: Path, **settings: Any) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT + body)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def pids_said(program: subprocess.Popen[str]) -> list[int]:
    assert program.stdout is not None
    assert program.stdout.readline() == "script runs\n"
    return [int(pid) for pid in program.stdout.readline().split()[1:]]


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that are ended after the test in any case."""
    programs: list[subprocess.Popen[str]] = []
    yield programs
    for program in programs:
        program.kill()
        program.communicate()


def test_a_script_without_a_guard_runs_once_and_leaves_nothing(
    tmp_path: Path, ended: list[subprocess.Popen[str]]
) -> None:
    program = run_script("print([p.combined.upper > 0 for p in points])\n", tmp_path)
    ended.append(program)
    out, err = program.communicate(timeout=600)
    assert program.returncode == 0, err
    assert out.count("script runs") == 1
    assert "[True, True, True]" in out
    assert wait_until_dead([int(pid) for pid in out.splitlines()[1].split()[1:]])


def test_a_killed_parent_leaves_no_orphans(tmp_path: Path, ended: list[subprocess.Popen[str]]) -> None:
    # a copy of the parent's ends of the connections lives on in a fork, as in a data loader
    fork = "if os.fork() == 0: os.close(1); os.close(2); time.sleep(20); os._exit(0)\n"
    program = run_script(fork + "time.sleep(600)\n", tmp_path)
    ended.append(program)
    children = pids_said(program)
    assert children and all(map(alive, children))  # one, where it had done everything before the other was ready
    time.sleep(0.5)
    program.kill()
    assert wait_until_dead(children)


def test_ctrl_c_ends_a_parallel_audit_in_seconds(tmp_path: Path, ended: list[subprocess.Popen[str]]) -> None:
    body = (
        f"ROOT = {str(ROOT)!r}"
        + """
sys.path.insert(0, ROOT)
from lipreg.estimators import register
from tests.auditing.cases import Waits
register("waits")(Waits)
print("searching", flush=True)
try:
    audit(net, AuditPlan(problem, ("fastlip", "waits"), budget=600.0), torch.zeros(3, 2), on_point=lambda p: print(
        "kept", p.point, p.intervals["waits"].status.value, flush=True), executor=pool)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    )
    program = run_script(body, tmp_path, start_new_session=True)
    ended.append(program)
    children = pids_said(program)
    assert program.stdout is not None
    assert program.stdout.readline() == "searching\n"
    time.sleep(2.0)
    began = time.monotonic()
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    out, err = program.communicate(timeout=600)
    assert time.monotonic() - began < 120  # of the budget's 600
    assert out.splitlines()[-1] == "interrupted", err
    assert [line.split()[1] for line in out.splitlines()[:-1]] == ["0", "1", "2"]
    assert "kept 0 interrupted" in out
    assert wait_until_dead(children)
