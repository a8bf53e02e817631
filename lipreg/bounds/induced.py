"""Induced norms of the maps of one analysis: each computed once, its certificate kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from lipreg.bounds.largest_row import largest_row_sum
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Graph
from lipreg.linalg import LinearMap, PowerIteration, SpectralNorm, spectral_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.linalg.spectral import WIDTH, fresh_entropy
from lipreg.words import counted

FAILURE = 1e-9
"""Probability, over the random starts of Lanczos, that any norm of one bound fails."""


@dataclass(frozen=True)
class _Computed:
    """A norm that is kept, and what it is of.

    Attributes:
        rows, columns: the weights of the map.
        value: the norm, ``(batch,)``.
        graded: whether it was computed with gradients.
        spectral: how it was computed; None for an estimate.
        seconds: that there were for it: 0 where it was stopped.
    """

    rows: Tensor
    columns: Tensor
    value: Tensor
    graded: bool
    spectral: SpectralNorm | None = None
    seconds: float = 0.0


@dataclass(eq=False)
class InducedNorms:
    """|diag(rows) A diag(columns)|_{p->p} of the terms of a graph's Affine nodes.

    Of layers that were multiplied out they are norms of the exact product: that of the numbers as computed, and what
    rounding may have lost (``map_rounding``).

    In pointed scope the ball bounds and the product of norms need the same spectral norms, which are computed for the first.

    Attributes:
        graph: whose maps these are.
        width: relative width at which a certified spectral norm is narrow enough.
        power: in training, estimates the spectral norms in their place.
        outward: whether rounding counts; it does not in training, where nothing is proved.
        spectral: the spectral norms computed so far, in any budget.
        entropy: from which the starts of Lanczos are drawn, for all maps of this analysis.
        budget: in which Lanczos ends: norms are then wider, and computed again where there is more time.
    """

    graph: Graph
    width: float = WIDTH
    power: PowerIteration | None = None
    outward: bool = True
    spectral: list[SpectralNorm] = field(default_factory=list)
    entropy: str = field(default_factory=fresh_entropy)
    budget: Budget = UNLIMITED
    _computed: dict[tuple[int, int], list[_Computed]] = field(default_factory=dict)
    _read: list[SpectralNorm] = field(default_factory=list, init=False)

    def __call__(self, index: int, term: int, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        """The norm of term ``term`` of Affine node ``index``, ``(batch,)``; see ``lipreg.linalg.induced_norm``."""
        map = self.graph.affine(index).maps[term]
        if p == math.inf:
            return largest_row_sum(map, rows, columns) + self.rounding(map, p, rows, columns)
        if p != 2.0:
            return map.largest_sum(p, rows, columns) + self.rounding(map, p, rows, columns)
        computed = self._computed.setdefault((index, term), [])
        if self.power is not None:  # the ball's slopes and the scope's each have a vector of their own
            norm = self.power.norm(f"{index} {term} {len(computed)}", map, rows, columns)
            computed.append(_Computed(rows, columns, norm, True))
            return norm
        graded = torch.is_grad_enabled()  # an analysis without gradient must not pass its norms to a bound with one
        for old in computed:
            if graded != old.graded or not _same(rows, old.rows) or not _same(columns, old.columns):
                continue
            assert old.spectral is not None
            if old.spectral.cut and self.budget.has_more_than(old.seconds):
                computed.remove(old)
                break
            self._read.append(old.spectral)
            return old.value
        seconds, budget = self.budget.seconds_left, self.budget
        spectral = spectral_norm(map, rows, columns, self.width, self._failure, self.entropy, budget.stop_reason)
        for norms in (self.spectral, self._read):
            norms.append(spectral)
        seconds = 0.0 if budget.stop.is_set() else seconds
        norm = spectral.upper + self.rounding(map, p, rows, columns)
        computed.append(_Computed(rows, columns, norm, graded, spectral, seconds))
        return norm

    def rounding(self, map: LinearMap, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        """What the norm of a weighted map may be above that of its numbers as computed, ``()``; 0 where nothing was lost.

        Args:
            map, p, rows, columns: as for ``map_rounding``.
        """
        points = len(rows) and len(columns)
        return map_rounding(map, p, rows, columns) if self.outward and points and map.rounded else columns.new_zeros(())

    def afresh(self) -> InducedNorms:
        """Norms of the same maps, of which none is computed yet."""
        return InducedNorms(self.graph, self.width, self.power, self.outward)

    def within(self, budget: Budget) -> Self:
        """These norms in another budget, which is started. Both share whatever is computed with either."""
        return replace(self, budget=budget)

    @property
    def left_out(self) -> str:
        """What there was no time for in the norms that were read here, for the details of results."""
        read = {id(norm): norm for norm in self._read}.values()
        cut = sum(norm.cut for norm in read)
        return (
            f"There was no time for all of the width of {cut} of {counted(len(read), 'spectral norm')}" if cut else ""
        )

    @property
    def _failure(self) -> float:
        """The probability for one norm: every term has at most two, with the ball's slopes and with the scope's."""
        terms = sum(len(node.maps) for _, node in self.graph.affines())
        return FAILURE / (2 * max(1, terms))

    @staticmethod
    def certificate_of(several: Sequence[InducedNorms]) -> str:
        """One line on how spectral norms were certified; empty when there were none by Lanczos."""
        listed = {id(norm): norm for norms in several for norm in norms.spectral}.values()
        searched = [norm for norm in listed if norm.certified and norm.steps]
        if not searched:
            return ""
        total = 0.0
        for norm in searched:
            ratio = norm.upper / torch.where(norm.upper > 0, norm.lower, torch.ones_like(norm.lower))
            total += math.log(max(1.0, float(torch.nan_to_num(ratio, nan=1.0).max())))
        failure = sum(norm.failure for norm in searched)
        return (
            f"{len(searched)} spectral norms by Lanczos, {sum(norm.steps for norm in searched)} steps, "
            f"together of relative width {math.expm1(total):.1e}, failure probability {failure:.0e}, "
            f"starts from {', '.join(dict.fromkeys(norm.entropy for norm in searched))}"
        )


def rounding_share(map: LinearMap) -> float:
    """What part of ``map.sizes()`` the rounding of a map's numbers is at most, and that of a product with it."""
    return (map.lengths + SPARE) * EPS


@torch.no_grad()
def map_rounding(map: LinearMap, p: float, rows: Tensor, columns: Tensor) -> Tensor:
    """A bound on the norm of what multiplying a map out lost, the same for all points of a batch.

    The map as computed is A + E, with |E| <= N u |A_m| ... |A_1| entry by entry for the maps A_m, ..., A_1 that A was made
    of and N the lengths of all sums (Higham 2002, section 3.5); hence |A|_{p->p} <= |A + E|_{p->p} + |E|_{p->p}. With r
    the largest row sum of this bound on |E|, and c its largest column sum, |E|_{p->p} is at most r for p = inf, c for p = 1
    and sqrt(r c) for p = 2 (Schur's test). Weights of rows and columns only scale E: the largest of each is taken.

    Args:
        map: A + E, which remembers what it was made of.
        p: 1, 2 or inf.
        rows: weights >= 0 of the outputs, ``(batch or 1, *out_shape)``.
        columns: weights >= 0 of the inputs, ``(batch or 1, *in_shape)``.

    Returns:
        A bound on |diag(rows) E diag(columns)|_{p->p}, ``()``.
    """
    sizes, rows, columns = map.sizes(), rows.detach().amax(0), columns.detach().amax(0)
    sums = list[Tensor]()
    if p != 1.0:
        sums.append((rows * sizes(columns)).amax())
    if p != math.inf:
        sums.append((columns * sizes.transpose(rows)).amax())
    return rounding_share(map) * (sums[0] if len(sums) == 1 else sums[0].sqrt() * sums[1].sqrt())


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.grad_fn is b.grad_fn and bool(torch.equal(a, b)))
