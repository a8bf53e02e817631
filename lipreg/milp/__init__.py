"""Mixed-integer and linear programs for the exact constant, and the solvers behind them."""

from lipreg.milp.cells import interior_point
from lipreg.milp.encoding import Encoding, encode
from lipreg.milp.highs import Highs
from lipreg.milp.program import Outcome, Program, Solver

__all__ = ["Encoding", "Highs", "Outcome", "Program", "Solver", "encode", "interior_point"]
