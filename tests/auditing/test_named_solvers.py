"""A plan's solver in worker processes: its module goes with the settings, and what cannot go is refused before any work."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lipreg.auditing import AuditPlan, Processes, audit
from lipreg.auditing.background import BackgroundJob, BackgroundProcess
from lipreg.auditing.process import packed
from lipreg.budget import Budget
from lipreg.callbacks import Beside
from lipreg.errors import InvalidInput
from lipreg.estimators.settings import Settings
from lipreg.graph import capture
from lipreg.milp import SOLVERS, Highs, get_solver, register_solver
from lipreg.results import Certificate
from tests.auditing.cases import NET, PROBLEM, X, Y
from tests.callbacks.test_audit import Model, Notes, train
from tests.callbacks.test_audit import audit as in_training

MODULE = "tests.auditing.somebodys_solver"


@pytest.fixture
def somebodys() -> Iterator[Settings]:
    before = dict(SOLVERS)
    importlib.import_module(MODULE)
    yield Settings(solver="somebodys")
    SOLVERS.clear()
    SOLVERS.update(before)
    sys.modules.pop(MODULE, None)


def test_settings_bring_the_module_of_their_solver(somebodys: Settings) -> None:
    content = pickle.dumps(somebodys)
    del SOLVERS["somebodys"], sys.modules[MODULE]  # as in a new process
    assert pickle.loads(content) == somebodys
    assert get_solver("somebodys").version() == "Somebody's HiGHS"
    assert pickle.loads(pickle.dumps(Settings(threads=2, seed=5))) == Settings(threads=2, seed=5)


def test_a_solver_that_its_module_does_not_name_comes_along_too(somebodys: Settings) -> None:
    register_solver("also")(type(SOLVERS["somebodys"]))
    content = pickle.dumps(Settings(solver="also"))
    del SOLVERS["also"]
    assert pickle.loads(content).solver == SOLVERS["also"].name == "also"


def test_workers_and_the_process_beside_have_it(somebodys: Settings, shared_workers: Processes, tmp_path: Path) -> None:
    plan = AuditPlan(PROBLEM, ["mip"], budget=Budget(600.0), settings=somebodys)
    (point,) = audit(NET, plan, X[:1], Y[:1], executor=shared_workers)
    assert point.intervals["mip"].certificate is Certificate.EXACT, point.intervals["mip"].detail
    beside, graph = BackgroundProcess(), capture(NET, X[:1]).frozen()
    job = BackgroundJob(
        graph, plan, X[:1], Y[:1], shared_workers, plan.methods(), tmp_path / "records.jsonl", "run", 0, None
    )
    try:
        beside.submit(job)
        points = beside.poll(600.0)
    finally:
        beside.close()
    assert points is not None and points[0].intervals["mip"].certificate is Certificate.EXACT


def made_by_hand(name: str, monkeypatch: pytest.MonkeyPatch) -> type[Highs]:
    kind = type("Typed", (Highs,), {"__module__": name})
    module = sys.modules[name] if name in sys.modules else ModuleType(name)
    monkeypatch.setattr(module, "Typed", kind, raising=False)
    monkeypatch.setitem(sys.modules, name, module)
    return kind


@pytest.mark.parametrize("name", ["__main__", "no_file_of_this_name"])
@pytest.mark.parametrize("executor", [Processes(1), Beside()], ids=repr)
def test_what_no_process_could_import_is_refused_before_training(
    name: str, executor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SOLVERS, "typed", Highs())  # so that its place is empty after the test
    register_solver("typed", replace=True)(made_by_hand(name, monkeypatch))
    settings = Settings(solver="typed")
    says = rf"Typed is defined in {name}.*executor=\"inline\""
    with pytest.raises(InvalidInput, match=says):
        packed(AuditPlan(PROBLEM, ["mip"], budget=Budget(600.0), settings=settings))
    model, notes = Model(), Notes()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(InvalidInput, match=says):
        train(model, in_training(estimators=["mip"], settings=settings, executor=executor), notes, folder=tmp_path)
    assert not notes.seen
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_functions_that_no_process_could_import_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def helper() -> None: ...

    helper.__module__, helper.__qualname__ = "__main__", "helper"
    monkeypatch.setattr(sys.modules["__main__"], "helper", helper, raising=False)
    with pytest.raises(InvalidInput, match="helper is defined in __main__"):
        packed(helper)
