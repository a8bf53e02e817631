"""Mixed-integer and linear programs for the exact constant, and the solvers behind them."""

from lipreg.milp.cells import Cell, interior_point, settle_cell
from lipreg.milp.encoding import Encoding, encode, encode_rise
from lipreg.milp.functionals import Functionals, families
from lipreg.milp.gurobi import Gurobi
from lipreg.milp.highs import Highs
from lipreg.milp.program import Outcome, Program
from lipreg.milp.scip import Scip
from lipreg.milp.solvers import SOLVERS, Found, Limits, Solver, get_solver, installed_solvers, register_solver
from lipreg.milp.soundness import Allowance, allowance, leak_rate
from lipreg.milp.tightening import tighten

__all__ = [
    "SOLVERS",
    "Allowance",
    "Cell",
    "Encoding",
    "Found",
    "Functionals",
    "Gurobi",
    "Highs",
    "Limits",
    "Outcome",
    "Program",
    "Scip",
    "Solver",
    "allowance",
    "encode",
    "encode_rise",
    "families",
    "get_solver",
    "installed_solvers",
    "interior_point",
    "leak_rate",
    "register_solver",
    "settle_cell",
    "tighten",
]
