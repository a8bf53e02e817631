"""The registry of solvers, what it says of those that are missing, and what is each engine's own."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import highspy
import pytest

from lipreg.auditing import AuditPlan
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, MissingExtra
from lipreg.estimators.settings import Settings
from lipreg.milp import SOLVERS, Found, Gurobi, Options, Program, Solver, get_solver, installed_solvers, register_solver
from lipreg.milp.highs import Highs, _silence_banner
from lipreg.outputs import Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Status
from lipreg.testing import programs

ROOT = Path(__file__).parents[2]
PROBLEM = LocalLipschitz(LinfBall(0.1), Logit(0))


def test_highs_is_always_there() -> None:
    assert "highs" in installed_solvers()
    assert set(SOLVERS) >= {"highs", "gurobi", "scip"}
    assert all(get_solver(name).name == name for name in installed_solvers())


@pytest.mark.parametrize("name", ["cplex", "HiGHS", "", None, 3])
def test_unknown_names_are_refused_before_any_work(name: str) -> None:
    for ask in (get_solver, lambda n: Settings(solver=n), lambda n: AuditPlan(PROBLEM, settings=Settings(n))):
        with pytest.raises(InvalidInput, match="gurobi, highs, scip"):
            ask(name)


@pytest.mark.parametrize("name", ["gurobi", "scip"])
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(SOLVERS[name]), "package", "no_such_package")
    assert name not in installed_solvers()
    for ask in (
        get_solver,
        lambda n: Settings(solver=n),
        lambda n: AuditPlan(PROBLEM, ("fastlip",), settings=Settings(n)),
    ):
        with pytest.raises(MissingExtra, match=re.escape(f"pip install 'lipreg[{name}]'")):
            ask(name)


def test_extras_install_what_solvers_import() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for solver in SOLVERS.values():
        wanted = declared["optional-dependencies"][solver.extra] if solver.extra else declared["dependencies"]
        assert any(requirement.startswith(solver.package) for requirement in wanted), solver.name


def optional(nodes: Iterable[ast.AST]) -> set[str]:
    """The optional packages that the nodes import."""
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {a.name if isinstance(node, ast.Import) else node.module for node in imports for a in node.names}
    return {str(name).partition(".")[0] for name in named} & {"gurobipy", "pyscipopt"}


def test_optional_packages_are_imported_in_their_own_module_alone_and_late() -> None:
    for path in sorted((ROOT / "lipreg").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {SOLVERS[path.stem].package} if path.stem in SOLVERS else set()
        assert optional(ast.walk(tree)) <= own, path
        assert not optional(tree.body), f"{path}: import it where it is used"


def test_a_solver_of_ones_own_is_found_by_its_name() -> None:
    @register_solver("stubborn")
    class Stubborn(Solver):
        package, finest = "numpy", 1e-9

        def version(self) -> str:
            return "Stubborn 1"

        def run(self, program: Program, budget: Budget, options: Options) -> Found:
            return Found(Status.TIME_LIMIT, f"gap {options.gap:g}", bound=1e9)

    try:
        outcome = get_solver("stubborn").solve(programs.knapsack(), Budget(1), gap=0.5)
        assert outcome.status is Status.TIME_LIMIT
        assert outcome.claimed == outcome.dual_bound == pytest.approx(34, rel=1e-14)  # never above what the boxes prove
        assert outcome.detail == "Stubborn 1: gap 0.5"
        assert Settings(solver="stubborn").solver == "stubborn"
    finally:
        del SOLVERS["stubborn"]


def test_an_engine_that_cannot_be_loaded_is_a_failure() -> None:
    class Broken(Solver):
        name, package, finest = "broken", "numpy", 1e-9

        def version(self) -> str:
            raise ImportError("libengine.so")

        def run(self, program: Program, budget: Budget, options: Options) -> Found:
            raise AssertionError

    outcome = Broken().solve(programs.knapsack(), Budget(1))
    assert (outcome.status, outcome.detail) == (Status.FAILED, "broken: ImportError: libengine.so")


def test_tolerances_are_never_finer_than_the_engine_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []

    def note(self: Solver, program: Program, budget: Budget, options: Options) -> Found:
        seen.append(options)
        return Found(Status.FAILED, "")

    for name, solver in SOLVERS.items():
        if name in installed_solvers():
            monkeypatch.setattr(type(solver), "run", note)
            solver.solve(programs.knapsack(), Budget(1), feasibility=1e-12, gap=1e-15)
            assert seen[-1].feasibility == solver.finest
            assert seen[-1].gap == 1e-7


CTRL_C = """
import os, signal, sys, threading, time
from lipreg.budget import Budget
from lipreg.milp import get_solver
from lipreg.testing import programs
for name in sys.argv[1:]:
    get_solver(name).solve(programs.knapsack(), Budget(60.0))  # an engine's import takes as long as the machine wants
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        get_solver(name).solve(programs.split(50), Budget(60.0))
        print(name, "swallowed it")
    except KeyboardInterrupt:
        print(name, "late" if time.monotonic() - began > 30 else "raised")
"""


def test_a_real_ctrl_c_is_raised_whichever_engine_ran_before() -> None:
    """Gurobi puts its own handler of the signal in place, SCIP would."""
    names = [*installed_solvers(), *installed_solvers()]
    command = [sys.executable, "-c", CTRL_C, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines() if line.endswith(("it", "late", "raised"))] == [
        [name, "raised"] for name in names
    ]


def limited() -> bool:
    """Whether Gurobi is here with the licence of its pip package."""
    return "gurobi" in installed_solvers() and "licence" in Gurobi().solve(programs.wide(2001), Budget(5)).detail


def test_a_program_beyond_the_licence_says_what_to_do() -> None:
    if not limited():
        pytest.skip("no Gurobi, or one with a full licence")
    for integers in (True, False):
        within, beyond = (Gurobi().solve(programs.wide(n, integers=integers), Budget(5)) for n in (2000, 2001))
        assert within.incumbent == pytest.approx(7)
        assert beyond.status is Status.FAILED
        assert beyond.point is None and beyond.dual_bound == pytest.approx(2001, rel=1e-12)  # what the boxes prove
        for text in ("1 rows and 2001 columns", "2000", "solver='highs'"):
            assert text in beyond.detail


def test_what_highs_says_of_itself_is_kept_off_stdout(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """As from 1.16 on, by compiled code, when the first solver of a process is made."""
    said: list[str] = []

    class Talkative(highspy.Highs):
        def __init__(self) -> None:
            if not said:
                os.write(1, b"Running HiGHS\n")
                said.append("once")
            super().__init__()

    _silence_banner.cache_clear()
    monkeypatch.setattr(highspy, "Highs", Talkative)
    assert Highs().version().startswith("HiGHS ") and said
    os.write(1, b"ours\n")
    assert capfd.readouterr().out == "ours\n"
