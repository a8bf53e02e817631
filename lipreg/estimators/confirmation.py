"""What becomes of a solver's word: it is noted, and the upper end is proved here, without it.

Solvers are wrong now and then: with presolve or without, on programs of half a dozen variables. So a MIP gives a witness
(its point, re-evaluated on the network) and a claim. That nothing exceeds the witness is proved by lipreg's own branch and
bound, which starts from it, or, for the families that it does not take, by a tree of linear programs whose dual bounds are
evaluated here. What they do not prove is no upper end, and the detail says whose word it was.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from lipreg.estimators.point_search import PointSearch
from lipreg.results import Status

if TYPE_CHECKING:
    from lipreg.milp import Encoding
    from lipreg.search import Outcome

PROOF_SHARE = 0.5
"""Share of a point's time and nodes that the solver leaves to the proof."""
CLOSED = 1e-6
"""Relative gap at which the tree closes a node."""
REFUTED = 1e-6
"""A claim this far below a witness, relative to it, is wrong beyond the tolerances that solvers are asked for."""


def confirm(search: PointSearch, encoding: Encoding | None) -> str:
    """Proves what it can of the families that are open; enters how that ended.

    Args:
        search: with the solver's points offered and its claims noted.
        encoding: of the family of all sign vectors, where that is what is asked for.

    Returns:
        What proves the upper end.
    """
    if search.status is Status.FAILED or search.effort.stop.is_set():
        return "LP dual bound"  # no other engine steps in for one that failed
    if not search.open_families():
        search.status = Status.PROVED
        return "LP dual bound"
    if search.ended():
        return "LP dual bound"
    if search.families[0].signs:
        if encoding is None:
            return "LP dual bound"
        by_tree(search, encoding)
        return "tree of LP dual bounds"
    by_search(search)
    return "branch and bound, from the MIP's witness"


def by_search(search: PointSearch, **options: object) -> Outcome:
    """Runs lipreg's own branch and bound from the search's witness; enters what it proved and how it ended.

    Args:
        options: more of ``lipreg.search.search``'s.
    """
    from lipreg.search import Limits
    from lipreg.search import search as branch_and_bound

    def attain(points: torch.Tensor) -> float:
        search.offer(points)
        return search.lower

    effort = search.effort
    nodes = math.inf if search.nodes_left is None else search.nodes_left
    limits = Limits(search.seconds_left, nodes, effort.gap, effort.stop)
    uppers = torch.from_numpy(search.uppers).clamp(max=effort.known[0].upper)
    with torch.no_grad():
        found = branch_and_bound(
            search.apart,
            uppers,
            search.lower,
            attain,
            limits,
            start=search.witness_point,
            **options,  # type: ignore[arg-type]
        )
    search.status = found.status
    search.nodes += found.nodes
    search.uppers = np.minimum(search.uppers, found.upper)
    return found


def by_tree(search: PointSearch, encoding: Encoding) -> None:
    """Bounds the one family of all sign vectors by a tree over the program's own integers."""
    from lipreg.milp import prove

    target = search.lower * max(1 + CLOSED, 1 / (1 - search.effort.gap))
    proof = prove(encoding.program, target, search.seconds_left, search.nodes_left, search.effort.stop)
    search.nodes += proof.nodes
    search.status = proof.status
    search.tighten(0, max(proof.bound, 0.0))


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
