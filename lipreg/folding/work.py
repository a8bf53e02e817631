"""What folding takes, in multiplications: about, before any of it is done."""

from __future__ import annotations

from lipreg.bounds import Analysis
from lipreg.bounds.room import pass_work
from lipreg.folding.arithmetic import digits

NODE, ROOT = 4, 32
"""Products of the folded network's matrices that bounding and branching a node takes, and a root, which is bounded more
thoroughly; measured with 200 to 1,000 units."""
ENTRIES = 3
"""Digits of a weight; of one that was trained in float32, two or three."""
GROWN = 0.5
"""Share of their digits that numbers have on the way: columns begin with one, and each layer adds those of its weights."""


def values_work(analysis: Analysis) -> float:
    """Of the forward half of a single-point analysis: a column for each input with room, each unit and the constant."""
    units, inputs = analysis.derived(_sizes)
    return float((inputs + units + 1) * analysis.derived(_column))


def fold_work(analysis: Analysis) -> float:
    """Of both halves: back goes a column for each unit and functional, of which outputs are enough."""
    return float(_columns(analysis) * analysis.derived(_column))


def least_work(analysis: Analysis) -> float:
    """The same where float64 is accurate enough for the layers, which takes a few passes to know."""
    return float(_columns(analysis) * pass_work(analysis.graph.nodes))


def search_work(analysis: Analysis) -> float:
    """Until a search has bounded a single node: what folding alone takes is spent for nothing."""
    return fold_work(analysis) + node_work(*analysis.derived(_sizes))


def first_work(analysis: Analysis) -> float:
    """Until a search has bounded its root for each family."""
    units, inputs = analysis.derived(_sizes)
    return fold_work(analysis) + float(ROOT * analysis.placed.rows.shape[1] * units**2 * (units + inputs))


def node_work(units: int, inputs: int) -> float:
    """Of a node of a search, as far as it does not look at the time."""
    return float(NODE * units**2 * (units + inputs))


def _sizes(analysis: Analysis) -> tuple[int, int]:
    return int(analysis.unstable_units()[0]), int(analysis.placed.region.moves[0].sum())


def _columns(analysis: Analysis) -> int:
    units, inputs = analysis.derived(_sizes)
    return inputs + 2 * units + 1 + min(analysis.placed.rows.shape[1:])


def _column(analysis: Analysis) -> float:
    """Of one column through all layers: digits of numbers are multiplied by those of weights."""
    count = digits(analysis)
    return pass_work(analysis.graph.nodes) * (GROWN * count * ENTRIES if count > 1 else 1.0)
