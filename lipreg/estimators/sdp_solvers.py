"""Solvers of semidefinite programs that cvxpy can reach here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from lipreg.ctrl_c import delayed_ctrl_c
from lipreg.errors import InvalidInput


def check_sdp_solver(name: str) -> None:
    """Raises InvalidInput unless cvxpy can hand semidefinite programs to that solver here."""
    with delayed_ctrl_c():  # it tries the solvers that there are
        import cvxpy as cp
        from cvxpy.constraints.psd import PSD, SvecPSD
        from cvxpy.reductions.solvers.defines import SOLVER_MAP_CONIC

    interfaces = {solver: SOLVER_MAP_CONIC.get(solver) for solver in cp.installed_solvers()}
    accepted = [
        solver
        for solver, interface in interfaces.items()
        if interface is not None and {PSD, SvecPSD}.intersection(interface.SUPPORTED_CONSTRAINTS)
    ]
    if name not in accepted:
        raise InvalidInput(
            f"sdp_solver={name!r}",
            where="Settings",
            accepted=f"a solver of semidefinite programs that is installed: {', '.join(accepted)}",
        )


def solver_version(name: str) -> str:
    """The solver with its version, where a package of its name is installed."""
    try:
        return f"{name} {version(name.lower())}"
    except PackageNotFoundError:
        return name
