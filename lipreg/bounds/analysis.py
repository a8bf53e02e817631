"""Everything that is known of a network over the regions of a placed question: the groundwork of every bound and program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.masks import Masks, regional_masks
from lipreg.bounds.pooling import Shares, pool_shares
from lipreg.bounds.preactivations import ASKED, METHODS, Preactivations, Reaching
from lipreg.bounds.reach import Anchors, Reach
from lipreg.bounds.slopes import Slopes, slopes_of
from lipreg.bounds.unbounded import unbounded_reach
from lipreg.budget import Budget
from lipreg.errors import InvalidInput
from lipreg.graph import Affine, Graph
from lipreg.linalg import PowerIteration
from lipreg.linalg.spectral import WIDTH
from lipreg.problem import PlacedProblem
from lipreg.records.subjects import reference_hash, subject_hash

P = ParamSpec("P")
T = TypeVar("T")
Within = Budget | Callable[[], Budget]


class Analysis:
    """A placed question about a network, and what is known of the network there; each part is made when it is asked for.

    What is made of an analysis belongs to it and ends with it, see ``derived``. Its parts go with it to another process.

    Attributes:
        graph: live or frozen.
        placed: the question at a batch of points.
        norms: of the maps, each computed once.
        outward: whether its bounds hold for rounding.
        memory: bytes that the rows of one node may take, where they are kept for a gradient; None for no limit.
        methods: of its pre-activation bounds.
    """

    def __init__(
        self,
        graph: Graph,
        placed: PlacedProblem,
        norms: InducedNorms,
        outward: bool,
        find: Callable[[], Preactivations],
        masks: Callable[[], Masks | None] = lambda: None,
        memory: int | None = None,
        methods: tuple[str, ...] = METHODS,
    ) -> None:
        self.graph, self.placed, self.norms, self.outward, self.memory = graph, placed, norms, outward, memory
        self.methods = methods
        self._find, self._find_masks = find, masks
        self._derived: dict[Callable[..., Any], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        found = self.preactivations
        return {
            "graph": self.graph,
            "placed": self.placed,
            "norms": self.norms,
            "outward": self.outward,
            "memory": self.memory,
            "methods": self.methods,
            "found": found,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        found = state.pop("found")
        self.__init__(**state, find=lambda: found)

    @property
    def budget(self) -> Budget:
        """In whose time what is asked of it is made sharper; see ``InducedNorms.within``, which sets it."""
        return self.norms.budget

    @cached_property
    def preactivations(self) -> Preactivations:
        """Bounds on every pre-activation, by the methods of the analysis."""
        return self._find()

    def find(self) -> None:
        """Computes what bounds start from now: without gradient under ``torch.no_grad``, within a budget that runs."""
        _ = self.slopes, self.shares

    @property
    def reach(self) -> tuple[Reach, ...]:
        """What is known of each node."""
        return self.preactivations.reach

    @property
    def anchors(self) -> Anchors:
        """The Affine nodes around the reference points."""
        return self.preactivations.anchors

    @property
    def left_out(self) -> str:
        """What there was no time for, for the details of results."""
        return self.preactivations.left_out

    @cached_property
    def masks(self) -> Masks | None:
        """Motion and slopes where they were asked for without pre-activation bounds; else None."""
        return self._find_masks()

    @cached_property
    def moves(self) -> Mapping[int, Tensor]:
        """0/1, which entries of the Input, every Relu, MaxPool and Curved can move, ``(batch, *shape)``."""
        if self.masks is not None:
            return self.masks.moves
        nodes = enumerate(zip(self.graph.nodes, self.reach, strict=True))
        return {i: reach.moves.to(reach.value.dtype) for i, (node, reach) in nodes if not isinstance(node, Affine)}

    @cached_property
    def columns(self) -> Mapping[int, Tensor]:
        """What the columns of every map count in a norm: ``moves``, and of the Input the question's own weights."""
        if self.placed.problem.plain:
            return self.moves
        return {**self.moves, 0: self.placed.weights.to(self.moves[0])}

    @cached_property
    def upper_slopes(self) -> Mapping[int, Tensor]:
        """The largest magnitudes of ``slopes``, for those who read no others: of a Relu their upper ends."""
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
        return {i: slopes_of(node, self.reach[node.source], scope) for i, node in self.graph.entrywise()}

    @cached_property
    def shares(self) -> dict[int, Shares]:
        """The weights that the members of every MaxPool's windows can have."""
        if self.masks is not None:
            return self.masks.shares
        found = {}
        for i, node in self.graph.pools():
            z = self.reach[node.source]
            found[i] = pool_shares(node, z.lower, z.upper, z.moves)
        return found

    def derived(self, make: Callable[Concatenate[Analysis, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function makes of this analysis, made once, with the arguments of the first time.

        It is part of the analysis and ends with it. A table beside the analyses could not do this: an entry that refers to
        its own analysis would keep both for good.
        """
        if make not in self._derived:
            self._derived[make] = make(self, *args, **kwargs)
        return self._derived[make]

    def __getitem__(self, index: slice) -> Analysis:
        """The analysis of some of the points; itself when that is all of them."""
        if index.indices(self.placed.batch) == (0, self.placed.batch, 1):
            return self
        norms = InducedNorms(self.graph)
        own = (self.graph, self.placed[index], norms, self.outward, lambda: self.preactivations[index])
        return Analysis(*own, memory=self.memory, methods=self.methods)

    def asking(self, placed: PlacedProblem) -> Analysis:
        """The analysis of another question about the same regions, which shares what is there."""

        def masks() -> Masks | None:
            return self.masks if placed.problem.scope == self.placed.problem.scope else None

        own = (self.norms, self.outward, lambda: self.preactivations, masks, self.memory, self.methods)
        found = Analysis(self.graph, placed, *own)
        same = placed.problem.scope == self.placed.problem.scope
        if same and self.outward:  # without gradients, which may be off here
            found.__dict__ |= {name: self.__dict__[name] for name in ("slopes", "shares") if name in self.__dict__}
        return found

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
        """How many ReLUs each point leaves undecided, ``(batch,)``."""
        counts = [self.reach[node.source].unstable.flatten(1).sum(-1) for _, node in self.graph.relus()]
        return torch.stack(counts).sum(0) if counts else torch.zeros(self.placed.batch, dtype=torch.int64)


def analyse(
    graph: Graph,
    placed: PlacedProblem,
    methods: Sequence[str] | None = None,
    known: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    width: float = WIDTH,
    power: PowerIteration | None = None,
    outward: bool = True,
    budget: Within | None = None,
    constant: bool = False,
    memory: int | None = None,
) -> Analysis:
    """The analysis of a graph over the regions of a batch.

    Its bounds are of the function that the graph's float64 weights define in real arithmetic: rounded outward, by what each
    step may have lost (``bounds/reach.py``).

    Args:
        graph: live (differentiable) or frozen.
        placed: the question; its region is taken in the graph's dtype and on its device.
        methods: any of "ball", "interval", "crown", "alpha", intersected. Default: the first three.
        known: lower and upper bounds of Affine nodes by index, proved elsewhere; intersected with the methods' own.
        width: relative width at which a certified spectral norm is narrow enough.
        power: estimates spectral norms in their place; what follows from them is then no bound.
        outward: False leaves rounding out, for training, where bounds are not certified. Only float64 on the CPU is
            rounded outward.
        budget: of CROWN, or what makes it when the bounds are asked for. Each layer has its share of the time that is left,
            its widest entries first; what it does not reach keeps the other methods' bounds, and the analysis says so. None
            for no limit.
        constant: in regional scope, for bounds that see pre-activations only through slopes and motion: these without
            gradient, and no more of interval bounds than they are made of. Slopes of curves have one, and keep it.
        memory: bytes that the rows of CROWN, and of linear forms of the Jacobian, may take at one node, for graphs whose
            rows are kept for a gradient: nodes that need more keep the other methods' bounds. None for no limit.

    Returns:
        The analysis, of which nothing is computed yet; its bounds are differentiable in the graph's parameters.

    Raises:
        InvalidInput: an unknown or no method.
    """
    chosen = METHODS if methods is None else tuple(methods)
    if not chosen or set(chosen) - {*METHODS, *ASKED}:
        accepted = f"some of {', '.join((*METHODS, *ASKED))}"
        raise InvalidInput(f"methods {chosen}", where="pre-activation bounds", accepted=accepted)
    region = placed.region.to(graph.dtype, graph.device)
    # elsewhere sums may be taken by transforms (FFT, Winograd), for whose rounding these bounds do not hold
    outward = outward and graph.dtype == torch.float64 and graph.device.type == "cpu"
    norms = InducedNorms(graph, width, power)
    constant = constant and not graph.curves()

    def find() -> Preactivations:
        if not region.bounded:
            return unbounded_reach(graph, region)
        own = budget() if callable(budget) else budget
        with torch.set_grad_enabled(torch.is_grad_enabled() and not constant):
            return Reaching(graph, region, chosen, norms, known or {}, outward, own, memory).run()

    def masks() -> Masks | None:
        alone = constant and chosen == ("interval",) and not known and not outward and region.bounded
        return regional_masks(graph, region) if alone else None

    return Analysis(graph, placed, norms, outward, find, masks, memory, chosen)
