"""Mixed-integer and linear programs for the exact constant, and the solvers behind them."""

from lipreg.milp.cells import CellStatus, interior_point, settle_cell
from lipreg.milp.encoding import Encoding, encode, encode_forward, encode_rise
from lipreg.milp.functionals import FunctionalFamily, families
from lipreg.milp.gurobi import Gurobi
from lipreg.milp.highs import Highs
from lipreg.milp.program import Program, SolverOutcome
from lipreg.milp.relaxations import ProgramRelaxation
from lipreg.milp.scip import Scip
from lipreg.milp.size import program_size
from lipreg.milp.solvers import SOLVERS, Found, Options, Solver, get_solver, installed_solvers, register_solver
from lipreg.milp.tightening import tighten
from lipreg.milp.tree import Proof, prove

__all__ = [
    "SOLVERS",
    "CellStatus",
    "Encoding",
    "Found",
    "FunctionalFamily",
    "Gurobi",
    "Highs",
    "Options",
    "Program",
    "ProgramRelaxation",
    "Proof",
    "Scip",
    "Solver",
    "SolverOutcome",
    "encode",
    "encode_forward",
    "encode_rise",
    "families",
    "get_solver",
    "installed_solvers",
    "interior_point",
    "program_size",
    "prove",
    "register_solver",
    "settle_cell",
    "tighten",
]
