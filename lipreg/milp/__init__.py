"""Mixed-integer and linear programs for the exact constant, and the solvers behind them."""

from lipreg.milp.cells import interior_point
from lipreg.milp.encoding import Encoding, encode, encode_rise
from lipreg.milp.functionals import Functionals, families
from lipreg.milp.highs import Highs
from lipreg.milp.program import Outcome, Program, Solver
from lipreg.milp.soundness import Allowance, allowance, leak_rate
from lipreg.milp.tightening import tighten

__all__ = [
    "Allowance",
    "Encoding",
    "Functionals",
    "Highs",
    "Outcome",
    "Program",
    "Solver",
    "allowance",
    "encode",
    "encode_rise",
    "families",
    "interior_point",
    "leak_rate",
    "tighten",
]
