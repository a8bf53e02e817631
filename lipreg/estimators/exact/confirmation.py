"""The proof of upper ends in place of a solver's claims, which are noted and prove nothing.

Solvers are wrong now and then: with presolve or without, on programs of half a dozen variables. So a MIP gives a witness
(its point, re-evaluated on the network) and a claim. That nothing exceeds the witness is proved by lipreg's own branch and
bound, which starts from it, or, where that does not end, by a tree of linear programs whose dual bounds are evaluated here.
A claim that they do not prove is no upper end, and the detail quotes it as the solver's.
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
from lipreg.search import SearchOutcome, branch_and_bound

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
    """The solver's share of the remaining budget; the rest is for the proof.

    Args:
        search: the search of the point.
        deadline: the deadline of an earlier share, in place of a new one.
    """
    share = search.remaining.share(1 - PROOF_SHARE)
    nodes = None if share.nodes is None else math.ceil((1 - PROOF_SHARE) * share.nodes)
    return replace(share, nodes=nodes, deadline=share.deadline if deadline is None else deadline)


def confirm(search: PointSearch, encodings: Mapping[int, Encoding]) -> None:
    """Proves what it can of the families that are open; enters the bounds and how that ended into the search.

    Args:
        search: the search of the point, with the solver's points offered and its claims noted.
        encodings: the programs of open families; the tree leaves out families without one.
    """
    if search.status is Status.FAILED or search.budget.stop.is_set():
        return  # no other engine steps in for one that failed
    if not search.open_families():
        search.status = Status.PROVED
        return
    if search.is_over():
        return
    outcome = by_search(search, search.remaining.share(SEARCH_SHARE), "branch and bound, from the MIP's witness")
    if outcome.status is not Status.TIME_LIMIT or search.remaining.seconds_left <= 0:
        return
    _by_trees(search, encodings)


def by_search(search: PointSearch, budget: Budget, proof: str, progress: Watch | None = None) -> SearchOutcome:
    """Runs lipreg's own branch and bound from the search's witness; enters the bounds and how it ended into the search.

    Args:
        search: the search of the point.
        budget: the budget of the run, started.
        proof: the name of the proof in the result.
        progress: a function that is called with the progress.
    """

    def attain(points: torch.Tensor | None = None) -> float:
        if points is not None:
            search.offer(points)
        return search.lower

    search.tighten(search.prior.upper, search.prior.proof)
    with torch.no_grad():
        outcome = branch_and_bound(
            search.apart,
            torch.from_numpy(search.uppers.copy()),
            attain(),
            attain,
            budget,
            progress,
            start=search.witness_point,
        )
    if outcome.left_out:
        search.give_up(outcome.status, outcome.left_out)
    search.status = outcome.status
    search.nodes += outcome.nodes
    search.tighten(outcome.upper, proof)
    return outcome


def _by_trees(search: PointSearch, encodings: Mapping[int, Encoding]) -> None:
    """Bounds the open families one by one, each by a tree over the integers of its program; enters how that ended."""
    search.status = Status.PROVED
    for family in search.open_families():
        if search.closed(family):
            continue  # by a newer witness
        if family not in encodings or search.is_over():
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
            x = interior_point(search.local, units, point[activations], search.remaining)
            if x is not None:
                search.offer(torch.from_numpy(x).reshape(1, *search.local.placed.region.shape))
            return target() > aim

        proof = prove(encoding.program, aim, search.remaining, better)
        search.nodes += proof.nodes
        search.tighten(max(proof.bound, 0.0), "tree of LP dual bounds", family)
        tighter = encoding.without(proof.point) if proof.bound > aim else None
        if tighter is not None and search.remaining.stop_reason() is None:
            encoding = tighter
        elif proof.status is not Status.BOUNDED:
            break
    if proof.status is not Status.PROVED:
        search.status = proof.status


def on_claims(search: PointSearch) -> str:
    """The words of the detail on the solver's claims; empty where they are confirmed."""
    claimed, proved = float(np.minimum(search.claims, search.uppers).max()), float(search.uppers.max())
    if math.isinf(float(search.claims.min())):
        return ""
    if claimed < search.lower * (1 - REFUTED):
        return f"The solver's claim, at most {claimed:.9g}, is wrong: a point attains more."
    if claimed < proved * (1 - REFUTED):
        return f"The solver's claim, at most {claimed:.9g}, is unconfirmed."
    return ""
