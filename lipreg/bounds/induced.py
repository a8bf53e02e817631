"""Induced norms of the maps of one analysis: each computed once, its certificate kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipreg.bounds.largest_row import largest_row_sum
from lipreg.budget import UNLIMITED, Budget
from lipreg.graph import Graph
from lipreg.linalg import PowerIteration, SpectralNorm, spectral_norm
from lipreg.linalg.spectral import WIDTH, fresh_entropy
from lipreg.words import counted

FAILURE = 1e-9
"""Probability, over the random starts of Lanczos, that any norm of one bound fails."""


@dataclass(eq=False)
class InducedNorms:
    """|diag(rows) A diag(columns)|_{p->p} of the terms of a graph's Affine nodes.

    In pointed scope the ball bounds and the product of norms need the same spectral norms, which are computed for the first.

    Attributes:
        graph: whose maps these are.
        width: relative width at which a certified spectral norm is narrow enough.
        power: in training, estimates the spectral norms in their place.
        spectral: the spectral norms computed so far.
        entropy: from which the starts of Lanczos are drawn, for all maps of this analysis.
        budget: in which Lanczos ends, and bounds of the same analysis are made sharper; see ``within``.
    """

    graph: Graph
    width: float = WIDTH
    power: PowerIteration | None = None
    spectral: list[SpectralNorm] = field(default_factory=list)
    entropy: str = field(default_factory=fresh_entropy)
    budget: Budget = UNLIMITED
    _computed: dict[tuple[int, int], list[tuple[Tensor, Tensor, Tensor, bool]]] = field(default_factory=dict)

    def __call__(self, index: int, term: int, p: float, rows: Tensor, columns: Tensor) -> Tensor:
        """The norm of term ``term`` of Affine node ``index``, ``(batch,)``; see ``LinearMap.induced_norm``."""
        node = self.graph.affine(index)
        if p == math.inf:
            return largest_row_sum(node.maps[term], rows, columns)
        if p != 2.0:
            return node.maps[term].induced_norm(p, rows, columns)
        computed = self._computed.setdefault((index, term), [])
        if self.power is not None:  # the ball's slopes and the scope's each have a vector of their own
            norm = self.power.norm(f"{index} {term} {len(computed)}", node.maps[term], rows, columns)
            computed.append((rows, columns, norm, True))
            return norm
        graded = torch.is_grad_enabled()  # an analysis without gradient must not pass its norms to a bound with one
        for old_rows, old_columns, norm, had_gradient in computed:
            if graded == had_gradient and _same(rows, old_rows) and _same(columns, old_columns):
                return norm
        spectral = spectral_norm(
            node.maps[term], rows, columns, self.width, self._failure, self.entropy, self.budget.stop_reason
        )
        self.spectral.append(spectral)
        computed.append((rows, columns, spectral.upper, graded))
        return spectral.upper

    @contextmanager
    def within(self, budget: Budget) -> Iterator[None]:
        """A context in which norms by Lanczos end with a started budget: they are then wider, and kept as they are."""
        before, self.budget = self.budget, budget
        try:
            yield
        finally:
            self.budget = before

    @property
    def left_out(self) -> str:
        """What there was no time for, for the details of results."""
        cut = sum(norm.cut for norm in self.spectral)
        return (
            f"There was no time for all of the width of {cut} of {counted(len(self.spectral), 'spectral norm')}"
            if cut
            else ""
        )

    @property
    def _failure(self) -> float:
        """The probability for one norm: every term has at most two, with the ball's slopes and with the scope's."""
        terms = sum(len(node.maps) for _, node in self.graph.affines())
        return FAILURE / (2 * max(1, terms))

    @staticmethod
    def certificate_of(several: Sequence[InducedNorms]) -> str:
        """One line on how spectral norms were certified; empty when there were none by Lanczos."""
        searched = [norm for norms in several for norm in norms.spectral if norm.certified and norm.steps]
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


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.grad_fn is b.grad_fn and bool(torch.equal(a, b)))
