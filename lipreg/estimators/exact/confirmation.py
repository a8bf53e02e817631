"""What becomes of a solver's word: it is noted, and the upper end is proved here, without it.

Solvers are wrong now and then: with presolve or without, on programs of half a dozen variables. So a MIP gives a witness
(its point, re-evaluated on the network) and a claim. That nothing exceeds the witness is proved by lipreg's own branch and
bound, which starts from it, or, where that does not end, by a tree of linear programs whose dual
bounds are evaluated here. What they do not prove is no upper end, and the detail says whose word it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from lipreg.budget import Budget
from lipreg.estimators.base import Watch
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.milp import Encoding, interior_point, prove
from lipreg.results import Status
from lipreg.search import Outcome
from lipreg.search import search as branch_and_bound

PROOF_SHARE = 0.5
"""Share of a point's time and nodes that the solver leaves to the proof."""
SEARCH_SHARE = 0.5
"""Share of the proof's time for branch and bound, before the tree has the rest. Nearly always it ends long before; where
rows differ by many orders of magnitude it may not, and the tree often does."""
CLOSED = 1e-6
"""Relative gap at which the tree closes a node."""
REFUTED = 1e-6
"""A claim this far below a witness, relative to it, is wrong beyond the tolerances that solvers are asked for."""


def for_solver(search: PointSearch, deadline: float | None = None) -> Budget:
    """The solver's part of what is left; the rest is for the proof.

    Args:
        search: at the point in question.
        deadline: until when, where that has been decided already.
    """
    own = search.left.share(1 - PROOF_SHARE)
    nodes = None if own.nodes is None else math.ceil((1 - PROOF_SHARE) * own.nodes)
    return replace(own, nodes=nodes, deadline=own.deadline if deadline is None else deadline)


def confirm(search: PointSearch, encodings: Mapping[int, Encoding]) -> None:
    """Proves what it can of the families that are open; enters what it proved and how that ended.

    Args:
        search: with the solver's points offered and its claims noted.
        encodings: of families that are open; the tree leaves out those that have none.
    """
    if search.status is Status.FAILED or search.budget.stop.is_set():
        return  # no other engine steps in for one that failed
    if not search.open_families():
        search.status = Status.PROVED
        return
    if search.ended():
        return
    found = by_search(search, search.left.share(SEARCH_SHARE), "branch and bound, from the MIP's witness")
    if found.status is not Status.TIME_LIMIT or search.left.seconds_left <= 0:
        return
    by_trees(search, encodings)


def by_search(search: PointSearch, budget: Budget, proof: str, progress: Watch | None = None) -> Outcome:
    """Runs lipreg's own branch and bound from the search's witness; enters what it proved and how it ended."""

    def attain(points: torch.Tensor | None = None) -> float:
        if points is not None:
            search.offer(points)
        return search.lower

    search.tighten(search.known.upper, search.known.proof)
    with torch.no_grad():
        found = branch_and_bound(
            search.apart,
            torch.from_numpy(search.uppers.copy()),
            attain(),
            attain,
            budget,
            progress,
            start=search.witness_point,
        )
    if found.left_out:
        search.give_up(found.status, found.left_out)
    search.status = found.status
    search.nodes += found.nodes
    search.tighten(found.upper, proof)
    return found


def by_trees(search: PointSearch, encodings: Mapping[int, Encoding]) -> None:
    """Bounds the open families one by one, each by a tree over the integers of its program; enters how that ended."""
    search.status = Status.PROVED
    for family in search.open_families():
        if search.closed(family):
            continue  # by a witness found meanwhile
        if family not in encodings or search.ended():
            search.status = Status.TIME_LIMIT if search.status is Status.PROVED else search.status
            break
        _by_tree(search, family, encodings[family])


def _by_tree(search: PointSearch, family: int, encoding: Encoding) -> None:
    activations, units = encoding.program.columns.get("a", slice(0, 0)), encoding.units

    def target() -> float:
        return search.lower * max(1 + CLOSED, 1 / (1 - search.budget.gap))

    while True:
        aim = target()

        def better(point: np.ndarray, aim: float = aim) -> bool:
            x = interior_point(search.local, units, point[activations], search.left)
            if x is not None:
                search.offer(torch.from_numpy(x).reshape(1, *search.local.placed.region.shape))
            return target() > aim

        proof = prove(encoding.program, aim, search.left, better)
        search.nodes += proof.nodes
        search.tighten(max(proof.bound, 0.0), "tree of LP dual bounds", family)
        tighter = encoding.without(proof.point) if proof.bound > aim else None
        if tighter is not None and search.left.ended() is None:
            encoding = tighter
        elif proof.status is not Status.BOUNDED:
            break
    if proof.status is not Status.PROVED:
        search.status = proof.status


def on_claims(search: PointSearch) -> str:
    """What the detail says of the solver's claims: nothing where they are confirmed."""
    claimed, proved = float(np.minimum(search.claims, search.uppers).max()), float(search.uppers.max())
    if math.isinf(float(search.claims.min())):
        return ""
    if claimed < search.lower * (1 - REFUTED):
        return f"The solver's claim, at most {claimed:.9g}, is wrong: a point attains more."
    if claimed < proved * (1 - REFUTED):
        return f"The solver's claim, at most {claimed:.9g}, is unconfirmed."
    return ""
