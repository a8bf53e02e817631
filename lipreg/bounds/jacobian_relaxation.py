"""Linear bounds on the Jacobian: CROWN on the backward pass (Zhang et al. 2019, RecurJac; Shi et al. 2022).

The pass c -> c J is itself a network: its input is the functional c, its linear layers are the transposed maps, and its
nonlinearities multiply by slopes, w = d g, with d in [a, b] the slope of a unit and g in [l, u] the gradient with respect
to its output. Over all such d

    min(a g, b g) <= d g <= max(a g, b g),

the left side concave in g and the right one convex. So the tightest lines over [l, u] are the chords between the ends where
l < 0 < u, and the lines of slopes a and b themselves, which are exact, where the sign of g is decided.

A linear form of the gradients at one node is carried towards the output through the maps themselves; at every product it
takes the upper line where its coefficient is positive and the lower line where it is negative. At the output it meets c,
which is constant. Linear forms keep, and intervals lose, that the paths from one unit on share their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.jacobian import timed_interval_jacobian
from lipreg.bounds.layer_names import layers_named
from lipreg.bounds.lines import Lines, chord, relax_product
from lipreg.bounds.pass_cost import TimeShares, fits, slots
from lipreg.bounds.pooled import shared_row_sums
from lipreg.bounds.pooling import PoolLines
from lipreg.bounds.rounding import gradient_rounding
from lipreg.bounds.unit_bounds import in_parts, unit_bounds
from lipreg.budget import Budget
from lipreg.graph import Affine, Forward, MaxPool, UnitsAlike, node_size
from lipreg.linalg import Rows, WholeRows, entries
from lipreg.words import counted, sentences


@dataclass(frozen=True)
class LinearJacobian:
    """Bounds on the Jacobian's entries, and the lines by which further linear forms of it are bounded.

    Attributes:
        analysis: whose Jacobian it is.
        bounds: of the gradients at every node, as of ``interval_jacobian`` and inside of them.
        lines: of the products at every Relu, MaxPool and Curved node that the output depends on.
        left_out: what there was no time for, for the details of results.
    """

    analysis: Analysis
    bounds: dict[int, tuple[Tensor, Tensor]]
    lines: dict[int, Lines | PoolLines]
    left_out: str = ""

    @property
    def lower(self) -> Tensor:
        """Lower bounds on every entry of the Jacobian, ``(batch, rows, *input_shape)``."""
        return self.bounds[0][0]

    @property
    def upper(self) -> Tensor:
        """Upper bounds on every entry of the Jacobian, ``(batch, rows, *input_shape)``."""
        return self.bounds[0][1]

    def row_norms(self) -> Tensor:
        """Upper bounds on |c_k^T J|_{p*} of each row, ``(batch, rows)``.

        For p = inf and 2 the norm is a sum over the entries of |g| or g^2, convex functions that their chords over the
        entries' bounds bound from above. So the whole sum is one more linear form. Each bound is the smaller of that and
        the norm of the larger magnitudes; behind max pools, for p = inf, of ``shared_row_sums`` too.
        """
        placed = self.analysis.placed
        low, high = self.lower, self.upper
        apart = placed.row_norms(torch.maximum(low.abs(), high.abs()))
        if placed.problem.p == math.inf and self.analysis.graph.pools():
            apart = torch.minimum(apart, shared_row_sums(self.analysis))
        p = placed.problem.p
        if p == 1.0:
            return apart
        weights = placed.weights.to(low).unsqueeze(1)
        if p == 2.0:
            slope, offset, weights = low + high, -low * high, weights.square()
        else:
            slope, offset = chord(low, high, -1.0, 1.0)
        form = slope * weights
        carried = bound_forms(self.analysis, self.lines, 0, form.unsqueeze(2)).squeeze(2)
        total = carried + (offset * weights).flatten(2).sum(-1)
        if self.analysis.outward:
            loss = gradient_rounding(self.analysis)[0]
            total = total + 2.0 * (form.abs() * loss).flatten(2).sum(-1)
        if p == 2.0:
            # the square root has no gradient at 0, and what is not smaller is not used
            useful = (total > 0) & (total < apart.square())
            return torch.where(useful, torch.where(useful, total, torch.ones_like(total)).sqrt(), apart)
        return torch.minimum(apart, total)


def linear_jacobian(analysis: Analysis, budget: Budget | None = None) -> LinearJacobian:
    """The interval Jacobian with linear forms in place of intervals wherever a sign is undecided.

    From the output to the input: the gradients at a node are bounded by intervals, those of undecided sign at unstable
    units also by linear forms, and the smaller bounds enter the lines of the node's products and the intervals below. At
    the input every entry that can move is bounded so, for p = inf those of undecided sign.

    Batched over points and rows, and differentiable. Costs a forward pass through the graph for each entry bounded, of each
    row at each point, as many at once as the budget's memory allows. Nodes whose forms are more than ``analysis.memory``
    keep their intervals. It is computed once for an analysis, and again where it was cut short and there is more time.

    Args:
        analysis: live or frozen.
        budget: each node has its share of the remaining time, its widest entries first; entries for which there is none
            keep their intervals, and ``left_out`` says so. None for that of the analysis.
    """
    analysis = analysis.within(budget)
    # what is kept does not refer to the analysis that keeps it, so both are freed with the last that reads them
    return LinearJacobian(analysis, *analysis.memoised(_linear_jacobian, is_cut=lambda found: bool(found[-1])))


def _linear_jacobian(
    analysis: Analysis,
) -> tuple[dict[int, tuple[Tensor, Tensor]], dict[int, Lines | PoolLines], str]:
    lines: dict[int, Lines | PoolLines] = {}
    whole = analysis.budget
    nodes, unfinished = analysis.graph.nodes, set[int]()
    bounded = (0, *analysis.slopes, *analysis.shares)
    time_shares = TimeShares({i: nodes[i:] for i in bounded}, nodes)

    def tighten(index: int, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        share = whole.share(time_shares.next_share(index))
        wanted = _wanted(analysis, index, low, high)
        rows = 2 * len(low) * low.shape[1] * slots(wanted, 2)
        if rows and fits(analysis.memory, rows, nodes[index:]):
            low, high, reached = _within(analysis, lines, index, low, high, wanted, share)
            unfinished.update([] if reached else [index])  # a node that several read is bounded once for each
        _add_lines(analysis, lines, index, low, high)
        return low, high

    bounds, left_out = timed_interval_jacobian(analysis, tighten)
    if unfinished:
        where = (
            f"{len(unfinished)} of {counted(len(bounded), 'layer')}: {layers_named(analysis.graph, sorted(unfinished))}"
        )
        left_out = sentences(
            f"There was no time{in_parts(whole)} for linear bounds on the gradients at {where}", left_out
        )
    return bounds, lines, left_out


def bound_forms(analysis: Analysis, lines: dict[int, Lines | PoolLines], index: int, forms: Tensor) -> Tensor:
    """Upper bounds on linear forms of the gradients with respect to a node's entries.

    Args:
        analysis: whose Jacobian it is.
        lines: of every Relu, MaxPool and Curved after the node.
        index: of the Input, a Relu, a MaxPool or a Curved.
        forms: ``(batch, rows, k, *shape of the node)``; each row of the functional has its own gradients.

    Returns:
        ``(batch, rows, k)``.
    """
    bounds, _ = _carried(analysis, lines, index, WholeRows(forms.flatten(0, 1)))
    return bounds.reshape(forms.shape[:3])


def _carried(analysis: Analysis, lines: dict[int, Lines | PoolLines], index: int, forms: Rows) -> tuple[Tensor, int]:
    """Upper bounds on forms, ``(batch * rows, k)``, and the most numbers that these took at a node."""
    graph = analysis.graph
    functional = analysis.placed.rows.to(graph.dtype).flatten(0, 1)
    rules = _Forms(lines, forms.sums(torch.zeros_like(forms.values)))
    values, last = graph.forward({index: forms}, rules), len(graph.nodes) - 1
    if last not in values:
        return rules.total, rules.numbers
    at_output = values[last]
    return rules.total + at_output.sums(at_output.values * at_output.read(entries(functional))[0]), rules.numbers


class _Forms(UnitsAlike[Rows], Forward[Rows]):
    """Forms carried towards the output through the lines of products.

    Attributes:
        total: their constants so far, ``(batch * rows, k)``.
        numbers: the most that the forms took at a node.
    """

    def __init__(self, lines: dict[int, Lines | PoolLines], total: Tensor) -> None:
        self.lines, self.total, self.numbers = lines, total, 1

    def affine(self, index: int, node: Affine, values: Mapping[int, Rows]) -> Rows | None:
        parts = [values[source].through(map) for source, map in node.terms() if source in values]
        if not parts:
            return None
        form = sum(parts[1:], start=parts[0])
        self.numbers = max(self.numbers, form.values.numel())
        return form

    def max_pool(self, index: int, node: MaxPool, value: Rows) -> Rows | None:
        lines = self.lines.get(index)
        if not isinstance(lines, PoolLines):
            return None
        members = node.members(value.whole().unflatten(0, lines.low.shape[:2]))
        self.numbers = max(self.numbers, members.numel())
        form, offset = lines.above(members)
        self.total = self.total + offset.sum(-1).flatten(0, 1)
        return WholeRows(form.flatten(0, 1).unflatten(-1, node.shape))

    def unit(self, index: int, value: Rows) -> Rows | None:
        lines = self.lines.get(index)
        if not isinstance(lines, Lines):  # the output does not depend on it
            return None
        value, offset = lines.flattened.above(value)
        self.total = self.total + offset
        return value


def _wanted(analysis: Analysis, index: int, low: Tensor, high: Tensor) -> Tensor:
    """What bounding each gradient is worth, ``(batch, rows, *shape)``: its width, where that decides something, else 0."""
    if index in analysis.slopes:
        unstable = analysis.slopes[index].upper > analysis.slopes[index].lower
    elif index in analysis.shares:
        share = analysis.shares[index]
        unstable = (share.upper > share.lower).any(-1).reshape(-1, *low.shape[2:])
    else:
        unstable = analysis.placed.weights > 0
        if analysis.placed.problem.p != torch.inf:
            return (high - low) * unstable.unsqueeze(1)
    return (high - low) * (unstable.unsqueeze(1) & (low < 0) & (high > 0))


def _within(
    analysis: Analysis,
    lines: dict[int, Lines | PoolLines],
    index: int,
    low: Tensor,
    high: Tensor,
    wanted: Tensor,
    budget: Budget,
) -> tuple[Tensor, Tensor, bool]:
    """The bounds intersected with those of linear forms, at the entries wanted, and whether there was time for all."""
    batch, rows = low.shape[:2]
    largest = max(map(node_size, analysis.graph.nodes[index:]))

    def bound(forms: Rows) -> tuple[Tensor, int]:
        return _carried(analysis, lines, index, forms)

    some, lower, upper, reached = unit_bounds(wanted.flatten(0, 1), low, largest, bound, budget)
    if analysis.outward:
        loss = gradient_rounding(analysis)[index].reshape(batch * rows, -1).gather(1, some)
        lower, upper = lower - loss, upper + loss
    least, most = (end.reshape(batch * rows, -1) for end in (low, high))
    least = least.scatter(1, some, torch.maximum(least.gather(1, some), lower))
    most = most.scatter(1, some, torch.minimum(most.gather(1, some), upper))
    most = torch.maximum(least, most)  # where both are exact rounding may cross them
    return least.reshape_as(low), most.reshape_as(high), reached


def _add_lines(analysis: Analysis, lines: dict[int, Lines | PoolLines], index: int, low: Tensor, high: Tensor) -> None:
    """Enters the lines of a node's products, from the bounds on its gradients."""
    if index in analysis.slopes:
        slopes = analysis.slopes[index]
        least, most = slopes.lower.unsqueeze(1).expand_as(low), slopes.upper.unsqueeze(1).expand_as(low)
        lines[index] = relax_product(low, high, least, most)
    elif index in analysis.shares:
        lines[index] = PoolLines(low.flatten(2), high.flatten(2), analysis.shares[index])
