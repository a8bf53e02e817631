"""The choice of engines and the seed, which decide a result beside the question, its recipe and its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from lipreg.arguments import spelled_arguments
from lipreg.errors import InvalidInput
from lipreg.estimators.sdp_solvers import check_sdp_solver
from lipreg.milp import SOLVERS, Solver, get_solver, register_solver
from lipreg.options import check_count


@spelled_arguments
@dataclass(frozen=True)
class Settings:
    """The choice of engines and the seed, which decide a result beside the question, its recipe and its budget.

    Attributes:
        solver: that of mixed-integer and linear programs; see ``lipreg.milp.installed_solvers``.
        sdp_solver: that of the semidefinite programs of ``lipsdp``, by its name in cvxpy ("SCS", "CLARABEL", ...); None
            for an ascent of lipreg's own, which comes as close in a fraction of the time.
        threads: the number of threads of each solver.
        seed: the seed of every random choice.

    Raises:
        InvalidInput: an unknown solver, no installed one of semidefinite programs, or no number of threads or seed.
        MissingExtra: the solver is not installed.
    """

    solver: str = "highs"
    sdp_solver: str | None = None
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.threads, "threads", "Settings")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise InvalidInput(f"seed={self.seed!r}", where="Settings", accepted="a whole number")
        get_solver(self.solver)
        if self.sdp_solver is not None:
            check_sdp_solver(self.sdp_solver)

    def __reduce__(self) -> tuple[Callable[..., Settings], tuple[Any, ...]]:
        """A copy in another process takes along the class of its solver, whose module is imported there."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _restored, (type(self), values, type(get_solver(self.solver)))


def _restored(kind: type[Settings], values: Mapping[str, Any], solver: type[Solver]) -> Settings:
    """The settings where they are read, and their solver known by its name there too.

    Raises:
        MissingExtra: the package of a solver is not installed there.
    """
    name = values["solver"]
    if type(SOLVERS.get(name)) is not solver:
        register_solver(name, replace=True)(solver)
    return kind(**values)


DEFAULTS = Settings()
