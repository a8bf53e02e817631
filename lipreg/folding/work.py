"""Estimates of what folding and searching take, in multiplications, before any of it is done."""

from __future__ import annotations

from lipreg.bounds import Analysis
from lipreg.bounds.pass_cost import pass_work
from lipreg.folding.arithmetic import digit_count

NODE, ROOT = 4, 32
"""Products of the folded network's matrices that a node takes to bound and to branch, and a root, which is bounded more
thoroughly; measured with 200 to 1,000 units."""
ENTRIES = 3
"""Digits of a weight; of one that was trained in float32, two or three."""
BESIDE = 1.5
"""Factor by which a column takes longer than its products with weights; measured with 80 to 800 units, dense and
convolutional."""
GROWN = 0.5
"""Share of their digits that numbers have on the way: columns begin with one, and each layer adds those of its weights."""


def values_work(analysis: Analysis) -> float:
    """The work of the forward half: a column for each movable input, each unstable unit and the constant."""
    units, inputs = analysis.memoised(_sizes)
    return float((inputs + units + 1) * analysis.memoised(_column))


def fold_work(analysis: Analysis) -> float:
    """The work of both halves: backwards there is a column for each unstable unit and each functional, or each output if
    these are fewer."""
    return float(_columns(analysis) * analysis.memoised(_column))


def least_work(analysis: Analysis) -> float:
    """The work of both halves if float64 is accurate enough for the layers, which takes a few passes to find out."""
    return float(_columns(analysis) * pass_work(analysis.graph.nodes))


def search_work(analysis: Analysis) -> float:
    """The work until a search has bounded a single node, without which that of folding is spent for nothing."""
    return fold_work(analysis) + node_work(*analysis.memoised(_sizes))


def first_work(analysis: Analysis) -> float:
    """The work until a search has bounded its root for each family."""
    units, inputs = analysis.memoised(_sizes)
    return fold_work(analysis) + float(ROOT * analysis.placed.rows.shape[1] * units**2 * (units + inputs))


def node_work(units: int, inputs: int) -> float:
    """The work of a node of a search between two looks at the clock."""
    return float(NODE * units**2 * (units + inputs))


def _sizes(analysis: Analysis) -> tuple[int, int]:
    """How many unstable units and how many movable inputs there are."""
    return int(analysis.unstable_units()[0]), int(analysis.placed.region.movable[0].sum())


def _columns(analysis: Analysis) -> int:
    """How many columns go through the layers, forwards and backwards."""
    units, inputs = analysis.memoised(_sizes)
    return inputs + 2 * units + 1 + min(analysis.placed.rows.shape[1:])


def _column(analysis: Analysis) -> float:
    """The work of one column through all layers, where digits of numbers are multiplied by those of weights."""
    count = digit_count(analysis)
    return BESIDE * pass_work(analysis.graph.nodes) * (GROWN * count * ENTRIES if count > 1 else 1.0)
