"""How the analysis of a network over the regions of a placed question begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis, BudgetSource
from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.masks import Masks, regional_masks
from lipreg.bounds.parts import BatchParts
from lipreg.bounds.pass_cost import points_at_once
from lipreg.bounds.preactivations import METHODS, OPTIONAL_METHODS, BoundPropagation, Preactivations
from lipreg.bounds.unbounded import whole_space_bounds
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.graph import Graph
from lipreg.linalg import PowerIteration
from lipreg.linalg.spectral import WIDTH
from lipreg.problem import PlacedProblem


def analyse(
    graph: Graph,
    placed: PlacedProblem,
    methods: Sequence[str] | None = None,
    prior_bounds: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    width: float = WIDTH,
    power: PowerIteration | None = None,
    outward: bool = True,
    budget: BudgetSource | None = None,
    constant: bool = False,
    memory: int | None = None,
    once: bool = False,
) -> Analysis:
    """The analysis of a graph over the regions of a batch.

    Its bounds are of the function that the graph's float64 weights define in real arithmetic: rounded outward, by what each
    step may have lost (``bounds/value_bounds.py``).

    Args:
        graph: live (differentiable) or frozen.
        placed: the question; its region is taken in the graph's dtype and on its device.
        methods: any of "ball", "interval", "crown", "alpha", intersected. Default: the first three.
        prior_bounds: lower and upper bounds of Affine nodes by index, proved elsewhere; intersected with the methods' own.
        width: relative width at which a certified spectral norm is narrow enough.
        power: estimates spectral norms in their place; what follows from them is then no bound.
        outward: False leaves rounding out, for training, where bounds are not certified. Only float64 on the CPU is
            rounded outward.
        budget: of CROWN, or what makes it when the bounds are read. As many points are taken together as its memory and
            time allow. Of their share of the remaining time each layer has its own, its widest entries first; what it
            does not reach keeps the other methods' bounds, and ``left_out`` says so. None for no limit.
        constant: in regional scope, for bounds that read of pre-activations only slopes and which entries can move: these
            without gradient, and no more of interval bounds than they need. Slopes of curves have one, and keep it.
        memory: bytes that the rows of CROWN, and of linear forms of the Jacobian, may take at one node, for graphs whose
            rows are kept for a gradient: nodes that need more keep the other methods' bounds. None for no limit.
        once: whether points will be read one after the other and not again, so that nothing is kept of those before.

    Returns:
        The analysis, of which nothing is computed yet; its bounds are differentiable in the graph's parameters.

    Raises:
        InvalidInput: an unknown or no method.
    """
    selected_methods = METHODS if methods is None else tuple(methods)
    if not selected_methods or set(selected_methods) - {*METHODS, *OPTIONAL_METHODS}:
        accepted = f"some of {', '.join((*METHODS, *OPTIONAL_METHODS))}"
        raise InvalidInput(f"methods {selected_methods}", where="pre-activation bounds", accepted=accepted)
    region = placed.region.to(graph.dtype, graph.device)
    # elsewhere sums may be taken by transforms (FFT, Winograd), for whose rounding these bounds do not hold
    outward = outward and graph.dtype == torch.float64 and graph.device.type == "cpu"
    norms = InducedNorms(graph, width, power, outward)
    constant = constant and not graph.curves()

    def current_budget() -> Budget | None:
        return budget() if callable(budget) else budget

    def at_once() -> int:
        limit = current_budget()
        return placed.batch if limit is None else points_at_once(graph, placed, limit)

    def find(points: slice, norms: InducedNorms, share: float) -> Preactivations:
        some = region if points == slice(0, placed.batch) else region[points]
        if not some.bounded:
            return whole_space_bounds(graph, some)
        limit = current_budget()
        proved = {i: (low[points], high[points]) for i, (low, high) in (prior_bounds or {}).items()}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
            part = limit if limit is None or share == 1.0 else limit.share(share)
            return BoundPropagation(graph, some, selected_methods, norms, proved, outward, part, memory).run()

    def masks() -> Masks | None:
        alone = constant and selected_methods == ("interval",) and not prior_bounds and not outward and region.bounded
        return regional_masks(graph, region) if alone else None

    parts = BatchParts(placed.batch, at_once, find, norms, once)
    return Analysis(graph, placed, norms, outward, parts, None, masks, memory, selected_methods)
