"""The analysis of a network over the regions of a placed question: what every bound and program starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.masks import Masks, regional_masks
from lipreg.bounds.parts import Parts
from lipreg.bounds.pass_cost import points_at_once
from lipreg.bounds.pooling import Shares, pool_shares
from lipreg.bounds.preactivations import METHODS, OPTIONAL_METHODS, BoundPropagation, Preactivations
from lipreg.bounds.slopes import Slopes, slopes_of
from lipreg.bounds.unbounded import whole_space_bounds
from lipreg.bounds.value_bounds import Anchors, ValueBounds
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.graph import Affine, Graph
from lipreg.linalg import PowerIteration
from lipreg.linalg.spectral import WIDTH
from lipreg.problem import PlacedProblem
from lipreg.records.subjects import reference_hash, subject_hash

P = ParamSpec("P")
T = TypeVar("T")
BudgetSource = Budget | Callable[[], Budget]


class Analysis:
    """A placed question about a network with its bounds over the regions; each part is computed when it is first read.

    What is made of an analysis belongs to it and ends with it, see ``derived``. Its bounds go with it to another process.

    Args:
        parts: finds the pre-activation bounds, and keeps them.
        points: which points of the parts' batch these are; None for all.
        masks: makes the masks that stand in place of pre-activation bounds, or None.

    Attributes:
        graph: live or frozen.
        placed: the question at a batch of points.
        norms: induced norms of the maps, each computed once.
        outward: whether the bounds are widened by what rounding may have done.
        memory: bytes that the rows of one node may take, where they are kept for a gradient; None for no limit.
        methods: of the pre-activation bounds.
    """

    def __init__(
        self,
        graph: Graph,
        placed: PlacedProblem,
        norms: InducedNorms,
        outward: bool,
        parts: Parts,
        points: range | None = None,
        masks: Callable[[], Masks | None] = lambda: None,
        memory: int | None = None,
        methods: tuple[str, ...] = METHODS,
    ) -> None:
        self.graph, self.placed, self.norms, self.outward, self.memory = graph, placed, norms, outward, memory
        self.methods = methods
        self._parts, self._points, self._find_masks = parts, range(placed.batch) if points is None else points, masks
        self._derived: dict[Callable[..., Any], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "graph": self.graph,
            "placed": self.placed,
            "norms": self.norms,
            "outward": self.outward,
            "memory": self.memory,
            "methods": self.methods,
            "preactivations": self.preactivations,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        preactivations = state.pop("preactivations")
        self.__init__(**state, parts=Parts.of(preactivations, state["placed"].batch, state["norms"]))

    @property
    def budget(self) -> Budget:
        """The budget in whose time bounds are made sharper; ``InducedNorms.within`` sets it."""
        return self.norms.budget

    @cached_property
    def preactivations(self) -> Preactivations:
        """Bounds on the values of every node, by the methods of the analysis."""
        return self._parts[self._points]

    def find(self) -> None:
        """Computes slopes and shares now: without gradient under ``torch.no_grad``, within a budget that runs."""
        _ = self.slopes, self.shares

    @property
    def value_bounds(self) -> tuple[ValueBounds, ...]:
        """Bounds on the values of each node over the regions."""
        return self.preactivations.value_bounds

    @property
    def anchors(self) -> Anchors:
        """The Affine nodes around the reference points."""
        return self.preactivations.anchors

    @property
    def left_out(self) -> str:
        """What there was no time for, for the details of results."""
        return self.preactivations.left_out

    def certificate(self) -> str:
        """One line on how the spectral norms behind its bounds were certified, those of pre-activations included."""
        return InducedNorms.certificate_of(list(dict.fromkeys([*self._parts.norms_behind(self._points), self.norms])))

    @cached_property
    def masks(self) -> Masks | None:
        """Which entries can move, and slopes, where these are computed without pre-activation bounds; else None."""
        return self._find_masks()

    @cached_property
    def movable(self) -> Mapping[int, Tensor]:
        """0/1, which entries of the Input, every Relu, MaxPool and Curved can move, ``(batch, *shape)``."""
        if self.masks is not None:
            return self.masks.movable
        nodes = enumerate(zip(self.graph.nodes, self.value_bounds, strict=True))
        return {i: bounds.movable.to(bounds.value.dtype) for i, (node, bounds) in nodes if not isinstance(node, Affine)}

    @cached_property
    def columns(self) -> Mapping[int, Tensor]:
        """What the columns of every map count in a norm: ``movable``, and of the Input the question's own weights."""
        if self.placed.problem.plain:
            return self.movable
        return {**self.movable, 0: self.placed.weights.to(self.movable[0])}

    @cached_property
    def upper_slopes(self) -> Mapping[int, Tensor]:
        """The largest magnitudes of ``slopes``, for bounds that read nothing else of them: of a Relu their upper ends."""
        if self.masks is not None:
            return self.masks.upper
        relus = dict(self.graph.relus())
        return {i: slopes.upper if i in relus else slopes.size for i, slopes in self.slopes.items()}

    @cached_property
    def slopes(self) -> dict[int, Slopes]:
        """Bounds on the slopes of the units of every Relu and Curved in the question's scope."""
        if self.masks is not None:
            return self.masks.slopes
        scope = self.placed.problem.scope
        return {i: slopes_of(node, self.value_bounds[node.source], scope) for i, node in self.graph.entrywise()}

    @cached_property
    def shares(self) -> dict[int, Shares]:
        """The weights that the members of every MaxPool's windows can have."""
        if self.masks is not None:
            return self.masks.shares
        shares = {}
        for i, node in self.graph.pools():
            z = self.value_bounds[node.source]
            shares[i] = pool_shares(node, z.lower, z.upper, z.movable)
        return shares

    def derived(self, make: Callable[Concatenate[Analysis, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function makes of this analysis, made once, with the arguments of the first time.

        It is part of the analysis and ends with it. A table beside the analyses could not do this: an entry that refers to
        its own analysis would keep both for good.

        Args:
            make: the function, which is the key as well.
            *args, **kwargs: its further arguments.
        """
        if make not in self._derived:
            self._derived[make] = make(self, *args, **kwargs)
        return self._derived[make]

    def __getitem__(self, index: slice) -> Analysis:
        """The analysis of some of the points; itself when that is all of them."""
        if index.indices(self.placed.batch) == (0, self.placed.batch, 1):
            return self
        points = self._points[index]
        arguments = (self.graph, self.placed[index], self._parts.norms(points), self.outward, self._parts, points)
        return Analysis(*arguments, memory=self.memory, methods=self.methods)

    def for_question(self, placed: PlacedProblem) -> Analysis:
        """The analysis of another question about the same regions, which shares the bounds."""

        def masks() -> Masks | None:
            return self.masks if placed.problem.scope == self.placed.problem.scope else None

        arguments = (self.norms, self.outward, self._parts, self._points, masks, self.memory, self.methods)
        analysis = Analysis(self.graph, placed, *arguments)
        same = placed.problem.scope == self.placed.problem.scope
        if same and self.outward:  # without gradients, which may be off here
            analysis.__dict__ |= {name: self.__dict__[name] for name in ("slopes", "shares") if name in self.__dict__}
        return analysis

    def subject(self, index: int) -> str:
        """A hash of the network and reference point ``index``: what a result is about."""
        return subject_hash(self._fingerprint, self._point(index))

    def reference(self, index: int) -> str:
        """A hash of reference point ``index`` alone: equal for audits of two networks at the same point."""
        return reference_hash(self._point(index))

    def _point(self, index: int) -> bytes:
        return self.placed.region.center[index].detach().cpu().contiguous().numpy().tobytes()

    @cached_property
    def _fingerprint(self) -> str:
        return self.graph.fingerprint()

    def unstable_units(self) -> Tensor:
        """How many ReLUs each point leaves unstable, ``(batch,)``."""
        counts = [self.value_bounds[node.source].unstable.flatten(1).sum(-1) for _, node in self.graph.relus()]
        return torch.stack(counts).sum(0) if counts else torch.zeros(self.placed.batch, dtype=torch.int64)


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
    norms = InducedNorms(graph, width, power)
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

    parts = Parts(placed.batch, at_once, find, norms, once)
    return Analysis(graph, placed, norms, outward, parts, None, masks, memory, selected_methods)
