"""The Jacobian around its centre: unstable units as bounded deviations, each with its own exact row.

Let C be the Jacobian with every slope (and every weight of a max pool) at the centre of its interval. Then

    c J = c C + sum_u g_u e_u M_u,      |e_u| <= 1,

over the unstable units u: M_u is the gradient of unit u's pre-activation with the centre slopes below it, times the half
width of its interval, and g_u the true gradient of c f with respect to the unit's output. The same identity between units
bounds g: with T_wu the entries of the centre gradient of unit w at unit u,

    |g_u| <= b_u = |centre gradient at u| + sum over later units w of b_w |T_wu|.

Magnitudes are taken between unstable units alone; everything in between keeps its signs. The interval Jacobian takes
them at every entry below an unstable unit.

A window of a max pool with candidates i = 1..k has weights w_i around 1/k that add up to 1, so its deviations are
(w_i - 1/k) (z_i - mean z), with |w_i - 1/k| <= 1 - 1/k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.pass_cost import NUMBER_BYTES, pass_work
from lipreg.bounds.rounding import norm_rounding
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Backward, Curved, Graph, MaxPool, Relu, node_size
from lipreg.linalg import LinearMap

LEAST_PART = 8
"""Passes have an eighth of the memory in any case, or the numbers kept beside them would make rows too few."""


@dataclass(frozen=True)
class Deviations:
    """One point's Jacobian as centre plus deviations.

    Attributes:
        centre: C for each row, the columns times their weights, ``(rows, inputs)``.
        rows: M, the columns times their weights, ``(units, inputs)``.
        bounds: b, ``(rows, units)``.
        loss: what rounding may add to any norm of their sum, a number.
    """

    centre: Tensor
    rows: Tensor
    bounds: Tensor
    loss: float = 0.0


@dataclass(frozen=True)
class DeviatingUnits:
    """The unstable units of one node: where each reads its gradient, and its functional of the source.

    Attributes:
        position: flat positions in the node's output, ``(units,)``.
        sources: flat positions in the source that each functional reads, ``(units, k)``.
        weights: its coefficients there, ``(units, k)``.
    """

    position: Tensor
    sources: Tensor
    weights: Tensor


def deviation_count(analysis: Analysis) -> int:
    """The number of deviations that ``deviations`` would carry for a single-point analysis."""
    return sum(len(units.position) for units in deviating_units(analysis).values())


def deviations_work(analysis: Analysis) -> float:
    """About how many multiplications ``deviations`` takes for a single-point analysis."""
    return float(sum(_work(analysis.graph, deviating_units(analysis)).values()))


def deviations_memory(units: int, inputs: int, rows: int) -> int:
    """Bytes of what is written down: rows at the inputs and at each other's units, and bounds.

    Args:
        units: how many deviate.
        inputs: how many inputs there are.
        rows: how many rows the functional has.
    """
    return NUMBER_BYTES * units * (units + inputs + rows)


def with_memory_used(budget: Budget, used: int) -> Budget:
    """The budget with the memory that ``used`` bytes leave of it, and a small part in any case."""
    return replace(budget, memory=max(budget.memory // LEAST_PART, budget.memory - used))


def _work(graph: Graph, units: dict[int, DeviatingUnits]) -> dict[int, int]:
    return {i: len(own.position) * pass_work(graph.nodes[:i]) for i, own in units.items()}


def deviations(analysis: Analysis, budget: Budget | None = None) -> Deviations:
    """The deviations of a single-point analysis; one backward pass with a row for each unstable unit and functional.

    Args:
        analysis: of a single point.
        budget: of these passes; None for no limit of time.

    Raises:
        OutOfBudget: the budget ends first, or is far from enough, by what the passes are judged to take or have taken so
            far; a bound needs every unit.
    """
    graph, placed, budget = analysis.graph, analysis.placed, budget or UNLIMITED
    centres = middle_slopes(analysis)
    units = deviating_units(analysis)
    order = list(units)
    ahead, began = _work(graph, units), budget.clock()
    budget.require(sum(ahead.values()))
    output = placed.rows[0].to(graph.dtype)
    last = len(graph.nodes) - 1
    at_units, centre = _carried(graph, last, output.reshape(-1, *graph.output.shape), centres, units)
    coupling: dict[int, dict[int, Tensor]] = {}
    counts = [len(units[i].position) for i in order]
    passes = with_memory_used(budget, deviations_memory(sum(counts), centre.shape[1], len(output)))
    rows = centre.new_empty(sum(counts), centre.shape[1])
    for index, rows_of_node in zip(order, rows.split(counts), strict=True):
        node = graph.nodes[index]
        assert isinstance(node, Relu | MaxPool | Curved)
        coupling[index] = _carried_units(graph, node.source, units[index], centres, units, passes, rows_of_node)
        if remaining := sum(ahead[later] for later in order if later > index):
            budget.with_measured_rate(sum(ahead.values()) - remaining, began).require(remaining)
    bounds: dict[int, Tensor] = {}
    for index in reversed(order):
        total = at_units[index].abs()
        for later, bound in bounds.items():
            if index in coupling[later]:
                total = total + bound @ coupling[later][index].abs()
        bounds[index] = total
    weights = placed.weights[0].flatten().to(graph.dtype)
    stacked = torch.cat([bounds[i] for i in order], 1) if order else output.new_zeros(len(output), 0)
    return Deviations(centre * weights, rows.mul_(weights), stacked, _loss(analysis, len(order)))


def _loss(analysis: Analysis, depth: int) -> float:
    """What rounding may add: a path of the chain of magnitudes is in the centre, and once for each node that it passes."""
    return 4.0 * (depth + 1) * float(norm_rounding(analysis)) if analysis.outward else 0.0


def middle_slopes(analysis: Analysis) -> dict[int, Tensor]:
    """The middle of every slope interval, and equal weights for the candidates of every window; without a batch axis."""
    centres = {i: ((s.lower + s.upper) / 2)[0] for i, s in analysis.slopes.items()}
    for i, share in analysis.shares.items():
        contending = share.candidates[0].to(share.upper.dtype)
        centres[i] = contending / contending.sum(-1, keepdim=True)
    return centres


def deviating_units(analysis: Analysis) -> dict[int, DeviatingUnits]:
    """The unstable units of every Relu, MaxPool and Curved of a single-point analysis, in order."""
    units: dict[int, DeviatingUnits] = {}
    for index, slopes in analysis.slopes.items():
        half = ((slopes.upper - slopes.lower) / 2)[0].flatten()
        at = half.nonzero().flatten()
        units[index] = DeviatingUnits(at, at.unsqueeze(1), half[at].unsqueeze(1))
    for index, node in analysis.graph.pools():
        share = analysis.shares[index]
        contending = share.candidates[0].to(share.upper.dtype)
        count = contending.sum(-1, keepdim=True)
        contested = (share.upper[0].amax(-1) > 0) & (count.squeeze(-1) > 1)
        window, member = (contending * contested.unsqueeze(-1)).nonzero(as_tuple=True)
        mean = (contending / count)[window]
        indicator = torch.zeros_like(mean).scatter_(1, member.unsqueeze(1), 1.0)
        units[index] = DeviatingUnits(window, node.windows[window], (indicator - mean) * (1.0 - 1.0 / count[window]))
    return dict(sorted(units.items()))


def _carried_units(
    graph: Graph,
    source: int,
    units: DeviatingUnits,
    centres: dict[int, Tensor],
    all_units: dict[int, DeviatingUnits],
    budget: Budget,
    at_input: Tensor,
) -> dict[int, Tensor]:
    """The functionals of a node's units carried back, as many at once as the budget's memory allows.

    Args:
        at_input: takes the rows at the inputs, ``(units, inputs)``.

    Returns:
        The rows at the units of each earlier node, ``(units, units there)``.
    """
    at: dict[int, Tensor] = {}
    done = 0
    for rows in unit_row_blocks(graph, source, units, budget):
        at_units, inputs = _carried(graph, source, rows, centres, all_units)
        at = at or {i: some.new_empty(len(at_input), some.shape[1]) for i, some in at_units.items()}
        at_input[done : done + len(rows)] = inputs
        for i, some in at_units.items():
            at[i][done : done + len(rows)] = some
        done += len(rows)
    return at


def unit_row_blocks(
    graph: Graph, source: int, units: DeviatingUnits, budget: Budget, copies: int = 1
) -> Iterator[Tensor]:
    """The functionals of a node's units, as many at once as the memory allows.

    Args:
        graph: of the network.
        source: the Affine node that the functionals are of.
        units: of the node that reads it.
        budget: started.
        copies: how many tensors of a block's size a pass carries.

    Yields:
        Blocks ``(k, *shape of the source)``, in the order of the units.

    Raises:
        OutOfBudget: the budget has ended.
    """
    shape = graph.nodes[source].shape
    largest = max(map(node_size, graph.nodes[: source + 1]))
    for some in torch.arange(len(units.position), device=graph.device).split(budget.rows(copies * largest)):
        budget.check()
        rows = torch.zeros(len(some), torch.Size(shape).numel(), dtype=graph.dtype, device=graph.device)
        rows.scatter_add_(1, units.sources[some], units.weights[some])
        yield rows.reshape(-1, *shape)


def _carried(
    graph: Graph, index: int, rows: Tensor, centres: dict[int, Tensor], units: dict[int, DeviatingUnits]
) -> tuple[dict[int, Tensor], Tensor]:
    """Rows ``(k, *shape)`` of an Affine node carried back with centre slopes: at all earlier units, and at the input."""
    rules = CentreSlopesPass(centres, units)
    at_input = graph.backward([(index, rows)], rules)
    at = {i: rows.new_zeros(len(rows), len(own.position)) for i, own in units.items() if i < index} | rules.at
    inputs = torch.Size(graph.input_shape).numel()
    return at, rows.new_zeros(len(rows), inputs) if at_input is None else at_input.flatten(1)


class CentreSlopesPass(Backward[Tensor]):
    """Rows ``(k, *shape)`` carried back with centre slopes.

    Attributes:
        centres: slopes, and weights of windows, by node; without a batch axis.
        units: where each node's units read their gradients.
        at: what the rows are at each node's units, ``(k, units)``.
    """

    def __init__(self, centres: dict[int, Tensor], units: dict[int, DeviatingUnits]) -> None:
        self.centres, self.units = centres, units
        self.at: dict[int, Tensor] = {}

    def back(self, map: LinearMap, value: Tensor) -> Tensor:
        return map.transpose(value)

    def relu(self, index: int, node: Relu, value: Tensor) -> Tensor:
        self.at[index] = value.flatten(1)[:, self.units[index].position]
        return value * self.centres[index]

    def curved(self, index: int, node: Curved, value: Tensor) -> Tensor:
        self.at[index] = value.flatten(1)[:, self.units[index].position]
        return value * self.centres[index]

    def max_pool(self, index: int, node: MaxPool, value: Tensor) -> Tensor:
        self.at[index] = value.flatten(1)[:, self.units[index].position]
        return node.scatter(value.flatten(1).unsqueeze(-1) * self.centres[index])
