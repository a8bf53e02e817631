"""The analysis of a network over the regions of a placed question: what every bound and program starts from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, TypeVarTuple
from weakref import ref

import torch
from torch import Tensor

from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.masks import Masks
from lipreg.bounds.parts import BatchParts
from lipreg.bounds.pooling import PoolWeights, pool_shares
from lipreg.bounds.preactivations import METHODS, Preactivations
from lipreg.bounds.slopes import Slopes, slopes_of
from lipreg.bounds.value_bounds import Anchors, ValueBounds
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Affine, Graph
from lipreg.problem import PlacedProblem
from lipreg.records.subjects import reference_hash, subject_hash

T = TypeVar("T")
Key = TypeVarTuple("Key")
BudgetSource = Budget | Callable[[], Budget]
"""The budget of an analysis, or what makes one when the analysis first needs it."""


@dataclass(frozen=True)
class _Made(Generic[T]):
    """What was made of an analysis, and the seconds that there were for it: 0 where it was stopped."""

    value: T
    seconds: float


class _Fingerprint:
    """The fingerprint of a graph, whose weights are all read for it, once for all analyses that share it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @cached_property
    def text(self) -> str:
        return self._graph.fingerprint()


def _whole(value: object) -> bool:
    return False


class Analysis:
    """A placed question about a network with its bounds over the regions; each part is computed when it is first read.

    What is made of an analysis belongs to it and ends with it, see ``derived``. Its bounds go with it to another process,
    its budget does not.

    Args:
        parts: finds the pre-activation bounds, and keeps them.
        points: which points of the parts' batch these are; None for all.
        masks: makes the masks that stand in place of pre-activation bounds, or None.
        fingerprint: of the graph, shared with other analyses of it.

    Attributes:
        graph: live or frozen.
        placed: the question at a batch of points.
        norms: induced norms of the maps, each computed once.
        outward: whether the bounds are widened by what rounding may have done.
        memory: bytes that the rows of one node may take, where they are kept for a gradient; None for no limit.
        methods: of the pre-activation bounds.
        budget: in which anything else is made of the analysis; no limit, but of what ``within`` returns.
    """

    def __init__(
        self,
        graph: Graph,
        placed: PlacedProblem,
        norms: InducedNorms,
        outward: bool,
        parts: BatchParts,
        points: range | None = None,
        masks: Callable[[], Masks | None] = lambda: None,
        memory: int | None = None,
        methods: tuple[str, ...] = METHODS,
        fingerprint: _Fingerprint | None = None,
    ) -> None:
        self.graph, self.placed, self.norms, self.outward, self.memory = graph, placed, norms, outward, memory
        self.methods, self.budget = methods, UNLIMITED
        self._fingerprint = _Fingerprint(graph) if fingerprint is None else fingerprint
        self._parts, self._points, self._find_masks = parts, range(placed.batch) if points is None else points, masks
        self._derived: dict[tuple[Hashable, ...], _Made[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "graph": self.graph,
            "placed": self.placed,
            "norms": self.norms.within(UNLIMITED),
            "outward": self.outward,
            "memory": self.memory,
            "methods": self.methods,
            "fingerprint": self._fingerprint,
            "preactivations": self.preactivations,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        preactivations = state.pop("preactivations")
        self.__init__(**state, parts=BatchParts.of(preactivations, state["placed"].batch, state["norms"]))

    def within(self, budget: Budget | None) -> Analysis:
        """This analysis in another budget, which is started; itself for None. Both share whatever is made of either.

        Pre-activation bounds alone have the budget with which the analysis was begun, and are kept as they are.
        """
        if budget is None:
            return self
        analysis = Analysis.__new__(Analysis)
        analysis.__dict__ = {**self.__dict__, "budget": budget, "norms": self.norms.within(budget)}
        return analysis

    @property
    def preactivations(self) -> Preactivations:
        """Bounds on the values of every node, by the methods of the analysis."""
        return self.memoised(_preactivations)

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

    @property
    def whole(self) -> bool:
        """Whether its pre-activation bounds are computed already, and nothing was left out of them."""
        return self._parts.whole(self._points)

    def certificate(self) -> str:
        """One line on how the spectral norms behind its bounds were certified, those of pre-activations included."""
        return InducedNorms.certificate_of(list(dict.fromkeys([*self._parts.norms_behind(self._points), self.norms])))

    @property
    def masks(self) -> Masks | None:
        """Which entries can move, and slopes, where these are computed without pre-activation bounds; else None."""
        return self.memoised(_masks)

    @property
    def movable(self) -> Mapping[int, Tensor]:
        """0/1, which entries of the Input, every Relu, MaxPool and Curved can move, ``(batch, *shape)``."""
        return self.memoised(_movable)

    @property
    def columns(self) -> Mapping[int, Tensor]:
        """What the columns of every map count in a norm: ``movable``, and of the Input the question's own weights."""
        if self.placed.problem.plain:
            return self.movable
        return {**self.movable, 0: self.placed.weights.to(self.movable[0])}

    @property
    def upper_slopes(self) -> Mapping[int, Tensor]:
        """The largest magnitudes of ``slopes``, for bounds that read nothing else of them: of a Relu their upper ends."""
        return self.memoised(_upper_slopes)

    @property
    def slopes(self) -> dict[int, Slopes]:
        """Bounds on the slopes of the units of every Relu and Curved in the question's scope."""
        return self.memoised(_slopes)

    @property
    def shares(self) -> dict[int, PoolWeights]:
        """The weights that the members of every MaxPool's windows can have."""
        return self.memoised(_shares)

    def memoised(self, make: Callable[[Analysis, *Key], T], *key: *Key, is_cut: Callable[[T], bool] = _whole) -> T:
        """What a function makes of this analysis in its ``budget``: made once, as soon as it is whole.

        It is part of the analysis and ends with it. A table beside the analyses could not do this: an entry that refers to
        its own analysis would keep both for good. What was cut short is kept until there is more time for it than it had.

        Args:
            make: the function.
            *key: its further arguments, which are hashable: each of their values has its own.
            is_cut: whether what it made is less than it would be with more time. Nothing is, unless this is passed: a
                function that makes all or nothing raises ``OutOfBudget``, and then nothing is kept.
        """
        old: _Made[T] | None = self._derived.get((make, *key))
        if old is not None and not (is_cut(old.value) and self.budget.has_more_than(old.seconds)):
            return old.value
        seconds, value = self.budget.seconds_left, make(self, *key)
        self._derived[make, *key] = _Made(value, 0.0 if self.budget.stop.is_set() else seconds)
        return value

    def __getitem__(self, index: slice) -> Analysis:
        """The analysis of some of the points; itself when that is all of them."""
        if index.indices(self.placed.batch) == (0, self.placed.batch, 1):
            return self
        points = self._points[index]
        arguments = (self.graph, self.placed[index], self._parts.norms(points), self.outward, self._parts, points)
        options = {"memory": self.memory, "methods": self.methods, "fingerprint": self._fingerprint}
        return Analysis(*arguments, **options).within(self.budget)

    def for_question(self, placed: PlacedProblem) -> Analysis:
        """The analysis of another question about the same regions, which shares the bounds."""

        # what is made of this analysis may be kept by it, and then must not refer to it, or neither would be freed
        own, find, same = ref(self), self._find_masks, placed.problem.scope == self.placed.problem.scope

        def masks() -> Masks | None:
            owner = own()
            return None if not same else find() if owner is None else owner.masks

        arguments = (self.norms, self.outward, self._parts, self._points, masks, self.memory, self.methods)
        analysis = Analysis(self.graph, placed, *arguments, self._fingerprint).within(self.budget)
        if self.outward:  # without gradients, which may be off here
            shared = (_preactivations, *((_slopes, _shares) if same else ()))
            analysis._derived |= {(make,): self._derived[make,] for make in shared if (make,) in self._derived}
        return analysis

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the network."""
        return self._fingerprint.text

    def subject(self, index: int) -> str:
        """A hash of the network and reference point ``index``: what a result is about."""
        return subject_hash(self.fingerprint, self._point(index))

    def reference(self, index: int) -> str:
        """A hash of reference point ``index`` alone: equal for audits of two networks at the same point."""
        return reference_hash(self._point(index))

    def _point(self, index: int) -> bytes:
        return self.placed.region.center[index].detach().cpu().contiguous().numpy().tobytes()

    def unstable_units(self) -> Tensor:
        """How many ReLUs each point leaves unstable, ``(batch,)``."""
        counts = [self.value_bounds[node.source].unstable.flatten(1).sum(-1) for _, node in self.graph.relus()]
        return torch.stack(counts).sum(0) if counts else torch.zeros(self.placed.batch, dtype=torch.int64)


def _preactivations(analysis: Analysis) -> Preactivations:
    return analysis._parts[analysis._points]


def _masks(analysis: Analysis) -> Masks | None:
    return analysis._find_masks()


def _movable(analysis: Analysis) -> Mapping[int, Tensor]:
    if analysis.masks is not None:
        return analysis.masks.movable
    nodes = enumerate(zip(analysis.graph.nodes, analysis.value_bounds, strict=True))
    return {i: bounds.movable.to(bounds.value.dtype) for i, (node, bounds) in nodes if not isinstance(node, Affine)}


def _upper_slopes(analysis: Analysis) -> Mapping[int, Tensor]:
    if analysis.masks is not None:
        return analysis.masks.upper
    relus = dict(analysis.graph.relus())
    return {i: slopes.upper if i in relus else slopes.size for i, slopes in analysis.slopes.items()}


def _slopes(analysis: Analysis) -> dict[int, Slopes]:
    if analysis.masks is not None:
        return analysis.masks.slopes
    scope = analysis.placed.problem.scope
    return {i: slopes_of(node, analysis.value_bounds[node.source], scope) for i, node in analysis.graph.entrywise()}


def _shares(analysis: Analysis) -> dict[int, PoolWeights]:
    if analysis.masks is not None:
        return analysis.masks.shares
    shares = {}
    for i, node in analysis.graph.pools():
        z = analysis.value_bounds[node.source]
        shares[i] = pool_shares(node, z.lower, z.upper, z.movable)
    return shares
