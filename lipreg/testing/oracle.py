"""Exact local Lipschitz constants of tiny networks, by enumeration of their linear pieces: the truth that checks rest on.

A network of ReLU and LeakyReLU modules is affine wherever the slopes of all units are fixed. Its linear pieces over a region
X are found by branching unit by unit over the activation patterns; a branch is dropped when its polyhedron has no interior
in X, which is a least distance problem, solved by non-negative least squares (Lawson & Hanson 1974, ch. 23). Then

    regional  L(f, X) = max over pieces |C J diag(s)|_{p->q}  (Jordan & Dimakis 2020, theorem 1),
    pointed   L(f, x0, X) = max over vertices |C (f(x) - f(x0))|_q / |(x - x0) / s|_p,

C the functional's rows, s the units of the inputs, 0 for those between which nothing is measured, the vertices those of all
pieces cut by the cones on which the distance is linear: there the quotient is convex over linear, and largest at a vertex.

Nothing of lipreg's bounds, graphs or searches enters: regions, functionals and norms are written out from their definitions
(``domains``), coefficients are read off runs of the module itself with the slopes imposed (``imposed``), at x0 and along the
axes, and the module itself, not watched, is compared with the pieces at points inside them.
"""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedRequest
from lipreg.problem import LocalLipschitz
from lipreg.testing.domains import Array, Domain, domain_of, rows_of, slope_norm
from lipreg.testing.everywhere import everywhere
from lipreg.testing.pieces import Cell, cells, evaluate, regional
from lipreg.testing.quotients import largest, sampled_pointed, vertices

SAMPLES = 600
"""Points of the region whose quotients stand below a pointed constant that nothing lists."""


def exact_constants(
    network: nn.Module, problem: LocalLipschitz, x: Tensor, y: Tensor | None = None
) -> list[tuple[float, float]]:
    """The constant at each reference point of a tiny network, as an interval that holds it.

    It is one number, twice, for every regional question, over all of R^n too (``everywhere``), and for pointed ones with
    p = 1 or p = inf over boxes, l1 balls and polytopes, or with one input. For other pointed questions no finite list of
    points holds the maximum: the interval then runs from the best of sampled points to the regional constant.

    Cost: the pieces grow as (units)^inputs, the vertices of a piece as (rows choose inputs): four inputs and a dozen
    units take a second, six inputs minutes.

    Args:
        network: takes ``(batch, inputs)``; ReLUs and leaky ReLUs, as modules or functions, in place or not, are all that is
            not affine in it. Works on a float64 copy in evaluation mode.
        problem: the question.
        x, y: reference points ``(batch, inputs)`` and labels ``(batch,)``.

    Returns:
        (low, high) a point. Numbers are right up to float64 rounding and pieces thinner than ``THIN`` times the region;
        where rounding alone keeps a pointed constant from being one number, it is an interval too.

    Raises:
        UnsupportedRequest: a region or functional of a kind of one's own, images as inputs, too many pieces, or kinks and
            regions that rounding hides.
        InvalidInput: the network applies what is neither affine nor a ReLU; points outside of their region; labels that
            do not fit.
    """
    if x.dim() != 2:
        todo = "Begin the network with nn.Unflatten, and flatten the points"
        raise UnsupportedRequest(
            f"x of shape {tuple(x.shape)}", where="enumeration", accepted="(batch, inputs)", todo=todo
        )
    net, points = copy.deepcopy(network).double().eval(), x.detach().double().cpu().numpy()
    domains = [domain_of(problem.region, point) for point in points]
    with torch.no_grad():
        placed = x.detach().double().cpu()
        problem.place(placed, net(placed), y)  # refuses what is no question; its numbers are not used
    return [
        Enumeration(net, domain).constant(problem, None if y is None else int(y[i])) for i, domain in enumerate(domains)
    ]


class Enumeration:
    """The linear pieces of a network over one domain, listed once for all questions about them.

    Args:
        net: in float64 and evaluation mode.
        domain: the region around a reference point.
    """

    def __init__(self, net: nn.Module, domain: Domain) -> None:
        self.net, self.domain = net, domain
        self._vertices: dict[tuple[float, ...], list[Array]] = {}

    @cached_property
    def cells(self) -> list[Cell]:
        """The pieces."""
        return cells(self.net, self.domain)

    @cached_property
    def matrices(self) -> list[Array]:
        """The Jacobians of the pieces over all of R^n."""
        return everywhere(self.net, len(self.domain.center))

    def constant(self, problem: LocalLipschitz, label: int | None = None) -> tuple[float, float]:
        """An interval that holds the constant, as ``exact_constants`` says; the problem's region is the domain's."""
        net, domain, p, q = self.net, self.domain, problem.p, problem.q
        if not len(domain.free):
            return 0.0, 0.0
        rows = rows_of(problem.output, evaluate(net, domain.center[None])[0], label)
        units = np.broadcast_to(
            np.array(1.0 if problem.scale is None else problem.scale).flatten(), domain.center.shape
        )
        measured = np.ones(len(units)) if problem.measured is None else np.isin(np.arange(len(units)), problem.measured)
        if not domain.bounded:
            steepest = max(slope_norm(matrix * (units * measured), rows, p, q) for matrix in self.matrices)
            low = (
                steepest
                if problem.scope == "regional"
                else sampled_pointed(net, domain, rows, p, q, count=SAMPLES, units=units)
            )
            return min(low, steepest), steepest
        steepest = regional(self.cells, rows, p, q, (units * measured)[domain.free])
        if problem.scope == "regional":
            return steepest, steepest
        if len(domain.center) == 1:
            p = 1.0  # every norm is |d|
        elif not domain.polyhedral or p == 2:
            return min(sampled_pointed(net, domain, rows, p, q, count=SAMPLES, units=units), steepest), steepest
        key = (p, *units)
        if key not in self._vertices:
            self._vertices[key] = [vertices(cell, domain, p, units[domain.free]) for cell in self.cells]
        low, high = largest(net, self.cells, domain, self._vertices[key], (rows, p, q), units)
        return min(low, steepest), min(high, steepest)
