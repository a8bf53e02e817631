"""One interface over all MIP and LP solvers, and their registry by name."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from lipreg.budget import AnyOf, Budget
from lipreg.ctrl_c import delayed_ctrl_c, pass_on_ctrl_c
from lipreg.errors import MissingExtra
from lipreg.milp.program import Program, SolverOutcome
from lipreg.options import Named, Registry, instance
from lipreg.results import Status

GAP = 1e-7
"""Relative gap at which a MIP counts as closed, unless a wider one is set."""
FEASIBILITY = 1e-8
"""Row and integrality tolerance: small, because a row may be violated by it times its big-M."""

LONGEST = 1e8
"""The largest time limit that is set, in seconds: Gurobi's and SCIP's interfaces refuse infinity."""


@dataclass(frozen=True)
class Options:
    """The tolerances and the start of a run, all for the scaled program.

    Attributes:
        gap: relative gap (bound - incumbent) / |incumbent| at which a MIP is closed.
        threads: how many the engine may use.
        target: a MIP may end as soon as a point's objective reaches it; None for no target.
        feasibility: tolerance of rows and integers.
        start: values of some columns from which a feasible point may be completed.
    """

    gap: float = GAP
    threads: int = 1
    target: float | None = None
    feasibility: float = FEASIBILITY
    start: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An engine's answer to a scaled program, none of which is trusted.

    Attributes:
        status: how the run ended.
        word: the engine's own name of that.
        infeasible: whether it claims that there is no point.
        point: the variables of a feasible point, None without one.
        bound: of a MIP: its dual bound, offset included; None without one.
        multipliers: of an LP: one for each row, at least 0 for what would relax a row of A v <= b; None without them.
        nodes: branch and bound nodes.
    """

    status: Status
    word: str
    infeasible: bool = False
    point: np.ndarray | None = None
    bound: float | None = None
    multipliers: np.ndarray | None = None
    nodes: int = 0


class Solver(Named):
    """A MIP and LP solver. Subclasses set the attributes and ``run`` a scaled program; ``solve`` is the same for all.

    Attributes:
        package: the module that it imports when it is first used.
        extra: the extra of lipreg that installs the package; empty when lipreg itself does.
        finest: the smallest tolerance of rows and integers that it takes.
    """

    package: ClassVar[str]
    extra: ClassVar[str] = ""
    finest: ClassVar[float]

    @staticmethod
    def registry() -> Registry[Any]:
        return SOLVERS

    @abstractmethod
    def version(self) -> str:
        """The engine's own name and version, for records: "HiGHS 1.15.1"."""

    @abstractmethod
    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        """Maximises a checked and scaled program; called in a thread of its own. An exception becomes a FAILED outcome.

        Args:
            program: to maximise.
            budget: started, with ``seconds_left`` between 1e-3 and ``LONGEST``; ``nodes`` or None; and ``stop``, to be
                polled several times a second.
            options: tolerances and where to start.
        """

    def solve(
        self,
        program: Program,
        budget: Budget,
        *,
        gap: float = 0.0,
        threads: int = 1,
        start: Mapping[int, float] | None = None,
        target: float | None = None,
        feasibility: float = FEASIBILITY,
    ) -> SolverOutcome:
        """Maximises the program. A hard program, a refused licence or a failing engine is an outcome; nothing is raised.

        The engine runs in a thread of its own, so that Ctrl-C reaches the caller: it ends the run and is raised again.

        Args:
            program: to maximise.
            budget: of the run. Its own gap is not the program's.
            gap: relative gap at which a MIP is closed; below ``GAP`` it is ``GAP``.
            threads: how many the engine may use.
            start: values of some columns from which a feasible point may be completed.
            target: a MIP may end as soon as a point reaches it; its status is then TIME_LIMIT.
            feasibility: tolerance of rows and integers in a program of size 1, 1e-10 to 1e-6; the engine's ``finest``
                where that is larger.
        """
        budget, ctrl_c = budget.started(), threading.Event()
        began = budget.clock()
        try:
            with delayed_ctrl_c():  # the first one imports the package
                engine = self.version()
        except Exception as error:  # a package that is installed and cannot be loaded
            pass_on_ctrl_c(error)
            return SolverOutcome(Status.FAILED, detail=f"{self.name}: {type(error).__name__}: {error}")

        def early_outcome(status: Status, word: str, bound: float = math.inf) -> SolverOutcome:
            seconds = budget.clock() - began
            return SolverOutcome(status, claimed=bound, dual_bound=bound, seconds=seconds, detail=f"{engine}: {word}")

        wrong = _malformed(program)
        if wrong:
            return early_outcome(Status.FAILED, wrong)
        trivial, scaled = program.trivial_bound(), program.scaled()
        over = budget.stop_reason()
        if over is not None:
            word = "stopped before the start" if over is Status.INTERRUPTED else "nothing left of the limit"
            return early_outcome(over, word, bound=trivial)
        options = Options(
            max(gap, GAP),
            threads,
            None if target is None else target / scaled.objective,
            max(feasibility, self.finest),
            {i: value / scaled.columns[i] for i, value in (start or {}).items()},
        )
        limits = replace(budget, stop=AnyOf((ctrl_c, budget.stop)))
        limits = replace(limits, deadline=began + min(max(budget.seconds_left, 1e-3), LONGEST))
        try:
            answer = _in_own_thread(lambda: self.run(scaled.program, limits, options), ctrl_c)
        except Exception as error:  # an engine that fails is a result
            pass_on_ctrl_c(error)
            return early_outcome(Status.FAILED, f"{type(error).__name__}: {error}", bound=trivial)
        unread = _unread(answer, len(program.cost))
        if unread:
            return early_outcome(Status.FAILED, unread, bound=trivial)
        # recomputed here, so that no offset or sense convention of the engine's own enters
        point = None if answer.point is None else answer.point * scaled.columns
        incumbent = -math.inf if point is None else float(program.cost @ point + program.offset)
        proved = trivial
        if answer.multipliers is not None and len(answer.multipliers) == len(program.right):
            proved = min(trivial, program.dual_bound(scaled.multipliers(answer.multipliers)))
        claimed = proved
        if answer.infeasible:
            claimed = -math.inf
        elif answer.bound is not None and math.isfinite(answer.bound) and answer.status is not Status.FAILED:
            claimed = min(proved, answer.bound * scaled.objective)
        return SolverOutcome(
            answer.status,
            incumbent,
            claimed,
            proved,
            point,
            max(0, answer.nodes),
            budget.clock() - began,
            f"{engine}: {answer.word}",
        )


SOLVERS: Registry[Solver] = Registry("solver", instance, base=Solver)
"""The solvers by name."""
register_solver = SOLVERS.register
"""The decorator that registers a Solver class under a name."""


def get_solver(name: str) -> Solver:
    """The solver of that name.

    Raises:
        InvalidInput: there is none; the message lists all.
        MissingExtra: its package is not installed; the message says how to install it.
    """
    solver = SOLVERS.find(name)
    if not _installed(solver):
        raise MissingExtra(
            f"{solver.package} is not installed",
            where=f"solver {name!r}",
            accepted=", ".join(installed_solvers()),
            todo=f"pip install 'lipreg[{solver.extra}]'" if solver.extra else f"pip install {solver.package}",
        )
    return solver


def installed_solvers() -> tuple[str, ...]:
    """The names of the solvers whose packages are installed."""
    return tuple(name for name, solver in SOLVERS.items() if _installed(solver))


def _installed(solver: Solver) -> bool:
    return importlib.util.find_spec(solver.package) is not None


def _in_own_thread(run: Callable[[], Found], ctrl_c: threading.Event) -> Found:
    """The engine's answer. Ctrl-C sets the event, waits for the engine to end, and is raised again."""
    future: concurrent.futures.Future[Found] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(run())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(
        target=work, daemon=True
    ).start()  # an engine that never ends does not keep the process from ending
    try:
        while not future.done():  # in steps: an engine's own signal handler may not wake a waiting thread
            concurrent.futures.wait([future], timeout=0.2)
        return future.result()
    except KeyboardInterrupt:
        ctrl_c.set()
        while not future.done():  # until a second Ctrl-C
            concurrent.futures.wait([future], timeout=0.2)
        raise


def _unread(answer: Any, columns: int) -> str:
    """What keeps an engine's answer from being read; empty for nothing."""
    if not isinstance(answer, Found):
        return f"run returned {answer!r:.80}, a {type(answer).__name__}, where a Found is wanted"
    if answer.point is None:
        return ""
    if np.shape(answer.point) != (columns,):
        return f"a point of shape {np.shape(answer.point)} for {columns} columns"
    return "" if np.isfinite(answer.point).all() else "NaN or infinity among the numbers of the point"


def _malformed(program: Program) -> str:
    """What makes a solver misread the program, NaN as 0 or short arrays; empty for a program without such faults."""
    rows, cols = tuple(program.matrix.shape or (0, 0))
    if len(program.right) != rows or {len(v) for v in (program.cost, program.lower, program.upper)} != {cols}:
        return "arrays of different lengths"
    for array in (program.cost, program.right, program.matrix.data, program.lower, program.upper, program.offset):
        if not np.isfinite(array).all():
            return "NaN or infinity among the numbers of the program"
    return ""
