"""Witnesses: points of the region, and what they prove about the constant of the network.

Many points are looked at together in float64, and rank. What the best of them attains is then proved for it alone: with
running bounds on all rounding, and where those are too wide, behind many layers or where large weights cancel, in as many
digits as it takes. A lower end is such a number: a bound on the constant of the function that the float64 weights define
in real arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import FREE, Budget
from lipreg.estimators.witnesses.proved_norm import LEAST, operator_norm, vector_ends
from lipreg.graph import Affine, Curved, Forward, MaxPool, Relu, node_size
from lipreg.graph.accurate import precisions
from lipreg.linalg import Numbers, Running, vector_norm
from lipreg.linalg.floats import EPS, two_sum
from lipreg.results import Witness

AGREEMENT = 1e-9
"""Relative difference up to which two numbers are the same for the choice of a witness."""
SHARP = AGREEMENT / 2
"""Relative width to which what a witness attains is computed: two machines that prove it agree."""
ROOM = 2**20
"""Numbers of all nodes' values, and of gradients at the largest node, of the points that are looked at together, within the
budget's memory."""
TRIED = 4
"""Candidates that are proved one after another, where the first one does not attain what it promised."""


# ---------------------------------------------------------------- many points, in float64


def attained(analysis: Analysis, x: Tensor) -> Tensor:
    """What each point of X attains as computed in float64, ``(batch, k)``; -inf where that shows nothing.

    Regional: the norm of the Jacobian at x, if x is differentiable: every unit that can move is off its kink, and the
    largest member of every pooling window is alone, or all that tie are constant near x.
    Pointed: the largest quotient |c . (f(x) - f(x0))| / |x - x0|_p over the rows, in the question's units, if x differs
    from x0.

    Args:
        x: points ``(batch, k, *shape)`` in the regions.
    """
    shown, promised = _seen(analysis, x)
    return torch.where(shown, promised, -torch.inf)


def ranked(analysis: Analysis, x: Tensor, budget: Budget | None = None) -> Tensor:
    """What each point of X attains; where float64 shows that of no point about a reference point, what it would attain.

    Args:
        analysis, x: as for ``attained``.
        budget: started; None for no limit.

    Returns:
        ``(batch, k)``, or fewer columns, at least one: of the points that were looked at by the end of the budget.
    """
    budget, _ = budget or FREE, analysis.reach  # which is no part's time
    at_once = max(1, most_points(analysis, budget) // len(x))
    parts = [_seen(analysis, some) for some in budget.paced(x.split(at_once, dim=1), least=1)]
    shown, promised = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    none = ~(shown & (promised > 0)).any(1, keepdim=True)
    return torch.where(shown | none, promised, -torch.inf)


def most_points(analysis: Analysis, budget: Budget) -> int:
    """How many points may be looked at together in the budget's memory, at least 1."""
    sizes = [node_size(node) for node in analysis.graph.nodes]
    return max(1, min(ROOM, budget.rows(1)) // (sum(sizes) + analysis.placed.rows.shape[1] * max(sizes)))


def _seen(analysis: Analysis, x: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the float64 values show what a point attains, and what they say, ``(batch, k)`` each; -inf outside of X."""
    graph, placed = analysis.graph, analysis.placed
    rows = placed.rows.to(graph.dtype).unsqueeze(1)  # (batch, 1, rows, outputs)
    inside = placed.region.contains(x)
    found = graph.evaluate(Running.of(x))
    if placed.problem.scope == "pointed":
        center = placed.region.center.unsqueeze(1)
        change, error = (found[-1] + -graph.evaluate(Running.of(center))[-1]).rounded()
        norm = placed.problem.q if placed.problem.q is not None else math.inf
        rise = vector_norm((change.unsqueeze(-2) * rows).sum(-1), norm)
        # what rounding alone may have added to the difference shows nothing
        sure = rise - vector_norm((error.unsqueeze(-2) * rows.abs()).sum(-1), norm)
        run = placed.lengths(x - center)
        # quotients over tiny steps are rounding; those over half a millionth of the reach are not
        region = placed.region
        reach = placed.reach if region.bounded else region.center.flatten(1).abs().amax(1) + 1.0
        enough = inside & (run > 5e-7 * reach.unsqueeze(1))
        shown = sure > 0
        promised = torch.where(shown, sure, rise) / torch.where(enough, run, torch.ones_like(run))
        return shown, torch.where(enough, promised, -torch.inf)
    slopes, _, smooth = pattern(analysis, found)
    promised = placed.combine(graph.gradients(slopes, rows.expand(-1, x.shape[1], -1, -1)))
    return smooth, torch.where(inside, promised, -torch.inf)


def pattern(analysis: Analysis, found: Sequence[Numbers]) -> tuple[dict[int, Tensor], dict[int, Tensor], Tensor]:
    """The slopes for ``Graph.gradients`` where the nodes have these values, ``(batch, k, *shape)`` each, what those of
    curves are off by at most, and whether the network is proved to be differentiable there, ``(batch, k)``."""
    graph = analysis.graph
    values = [number.rounded() for number in found]
    slopes = graph.patterns([value for value, _ in values])
    smooth = torch.ones(values[0][0].shape[:2], dtype=torch.bool)
    for _, node in graph.relus():
        value, error = values[node.source]
        off = (value.abs() > error) | ~analysis.reach[node.source].moves.unsqueeze(1)
        smooth &= off.flatten(2).all(-1)
    lost: dict[int, Tensor] = {}
    for i, node in graph.curves():
        value, error = values[node.source]
        slopes[i], lost[i] = node.curve.slope_enclosed(value, error)
        sure = node.curve.smooth(value, error) | ~analysis.reach[node.source].moves.unsqueeze(1)
        smooth &= sure.flatten(2).all(-1)
    if graph.pools():
        rules = _Choosing(found, slopes)
        moves = analysis.reach[0].moves.unsqueeze(1).expand_as(values[0][0])
        graph.forward({0: (moves, rules.fresh(moves))}, rules)
        smooth &= rules.settled
    return {i: s.unsqueeze(2) for i, s in slopes.items()}, {i: o.unsqueeze(2) for i, o in lost.items()}, smooth


class _Choosing(Forward[tuple[Tensor, Tensor]]):
    """Enters the largest member of every pooling window into ``slopes``, and whether no window has a tie that matters.

    The values are what changes near x at all, as a unit that is off does not, whatever its input does; and which function
    an entry is near x: entries with one number are one function there, as what a layer has moved or repeated, a unit that
    is on, and a window, which is its largest member. A tie of such entries does not matter.

    Attributes:
        settled: ``(batch, k)``.
    """

    def __init__(self, found: Sequence[Numbers], slopes: dict[int, Tensor]) -> None:
        self.found, self.slopes = found, slopes
        self.settled: Tensor | bool = True
        self.given = 0

    def fresh(self, like: Tensor) -> Tensor:
        """Numbers that no entry has yet, one for each, ``(*like.shape)``; 0 is what does not change near x."""
        first, self.given = self.given, self.given + like.shape[2:].numel()
        own = torch.arange(first + 1, self.given + 1, dtype=torch.float64)
        return own.reshape(like.shape[2:]).expand(like.shape)

    def affine(self, index: int, node: Affine, values: Mapping[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        value, _ = self.found[index].rounded()
        flow = sum((map.abs()(values[i][0].to(value.dtype)) for i, map in node.terms()), torch.zeros_like(value))
        own = self.fresh(value)
        if len(node.maps) == 1 and node.maps[0].single_rows and not node.bias_of:
            (source,), (map,) = node.sources, node.maps
            moved = (map(torch.ones_like(values[source][1])) == 1) & (node.bias == 0)
            own = torch.where(moved, map(values[source][1]), own)
        return flow > 0, own

    def relu(self, index: int, node: Relu, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        (moves, own), slope = value, self.slopes[index]
        leaking = self.fresh(own) if node.slope else torch.zeros_like(own)
        return moves & (slope > 0), torch.where(slope == 1, own, leaking)

    def curved(self, index: int, node: Curved, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return value[0], self.fresh(value[1])

    def max_pool(self, index: int, node: MaxPool, value: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        moves, own = value
        best, apart = _largest(self.found[node.source].moved(node.members))
        dtype = self.slopes[index].dtype
        self.slopes[index] = torch.zeros(apart.shape, dtype=dtype).scatter_(-1, best, 1.0)
        changes, which = node.members(moves), node.members(own)
        same = which == which.gather(-1, best)
        still = ~changes & ~changes.gather(-1, best)
        self.settled = self.settled & (apart | still | same).flatten(2).all(-1)
        passing = node(moves.to(dtype)) > 0
        return passing, which.gather(-1, best).reshape(passing.shape)


def _largest(members: Numbers) -> tuple[Tensor, Tensor]:
    """Where the largest of the last dimension is, ``(..., 1)``, and which others are proved to be smaller, ``(..., n)``."""
    value, error = members.rounded()
    best, apart = value.argmax(-1, keepdim=True), torch.zeros_like(value, dtype=torch.bool)
    for last in (False, True):  # differences have digits that the values' roundings have not
        top = members.moved(lambda t, at=best: t.gather(-1, at.expand(*t.shape[:-1], 1)))
        value, error = (top + -members).rounded()
        apart = value > error
        if last or not bool((value < 0).any()):
            break
        best = value.argmin(-1, keepdim=True)
    return best, apart


# ---------------------------------------------------------------- one point, proved


def best_witness(
    analysis: Analysis, index: int, x: Tensor, known: float = 0.0, budget: Budget | None = None
) -> Witness | None:
    """The best of the points x ``(k, *shape)`` for reference point ``index``; None if none proves more than ``known``."""
    return witnesses(analysis[index : index + 1], x.unsqueeze(0), known, budget)[0]


def witnesses(analysis: Analysis, x: Tensor, known: float = 0.0, budget: Budget | None = None) -> list[Witness | None]:
    """The best of the points x ``(batch, k, *shape)`` for each reference point; None where none proves above ``known``.

    Once the budget, which is started, has ended, only those that were looked at by then count, and one of them is proved.
    """
    with torch.no_grad():
        single = x.shape[1] == 1  # there is nothing to rank
        promised = torch.full(x.shape[:2], torch.inf) if single else ranked(analysis, x, budget and budget.share(0.5))
        return [_best(analysis[i : i + 1], x[i], promised[i], known, budget or FREE) for i in range(len(x))]


def _best(analysis: Analysis, x: Tensor, promised: Tensor, known: float, budget: Budget) -> Witness | None:
    best = None
    for at in budget.paced(promised.argsort(descending=True)[:TRIED].tolist(), least=1):
        hope = float(promised[at])
        if hope == -math.inf or (known > 0 and hope <= known * (1.0 + AGREEMENT)):
            break
        if best is not None and hope <= best.attained * (1.0 + AGREEMENT):
            break
        value = proved(analysis, x[at], budget)
        if value > max(known, 0.0 if best is None else best.attained):
            best = Witness(tuple(x[at].flatten().tolist()), value)
    return best


def proved(analysis: Analysis, x: Tensor, budget: Budget = FREE) -> float:
    """A lower bound on the constant about a single reference point, proved by the point x ``(*shape)``; 0 if none is.

    It is what x attains, up to a relative ``SHARP``, or less once the budget, which is started, has no time for more digits.
    """
    if not bool(analysis.placed.region.contains(x.reshape(1, 1, *x.shape))):
        return 0.0
    attained = _quotient if analysis.placed.problem.scope == "pointed" else _slope
    return attained(analysis, x, budget)


def _slope(analysis: Analysis, x: Tensor, budget: Budget) -> float:
    """The norm of the Jacobian at x, rounded down; 0 where x is not proved to be differentiable."""
    graph, placed = analysis.graph, analysis.placed
    for start in precisions(graph, x.reshape(1, 1, *x.shape), budget):
        slopes, off, smooth = pattern(analysis, graph.evaluate(start))
        if bool(smooth):
            break
    else:
        return 0.0
    best = 0.0
    for start in precisions(graph, placed.rows.to(graph.dtype).unsqueeze(1), budget):
        gradient, error = (placed.weighed(end)[0, 0] for end in graph.differentiate(slopes, start, off).rounded())
        low, high = operator_norm(placed.problem, gradient, error)
        best = max(best, low)
        if low >= high * (1.0 - SHARP) or high < LEAST:
            break
    return best


def _quotient(analysis: Analysis, x: Tensor, budget: Budget) -> float:
    """|c . (f(x) - f(x0))|_q / |x - x0|_p in the question's units, rounded down."""
    graph, placed = analysis.graph, analysis.placed
    center = placed.region.center[0]
    step, off = two_sum(x, -center)
    units = placed.counts[0].to(step)  # a division rounds once more, for which the ends have room
    _, run = vector_ends((step / units).flatten(), (off.abs() / units).flatten(), placed.problem.p)
    if not 0 < run < math.inf:
        return 0.0
    rows, outputs = placed.rows[0].to(graph.dtype), placed.rows.shape[-1]
    best = 0.0
    for start in precisions(graph, torch.stack([x, center]), budget):
        output = graph.evaluate(start)[-1]
        change = output.moved(lambda t: t[..., 0, :]) + -output.moved(lambda t: t[..., 1, :])
        product = change.moved(lambda t: t.unsqueeze(-2)).times(rows)
        ends = product.moved(lambda t: t.sum(-1), copies=outputs).rounded()
        low, high = vector_ends(ends[0], ends[1], math.inf if placed.problem.q is None else placed.problem.q)
        best = max(best, low / run * (1.0 - 4 * EPS))
        if low >= high * (1.0 - SHARP) or high < LEAST:
            break
    return best
