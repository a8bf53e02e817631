"""Regional questions about one or two inputs: linear pieces one by one, where a search of phases leaves something open."""

from __future__ import annotations

from lipreg.budget import Budget
from lipreg.estimators.exact.confirmation import by_search
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.milp.planar_pieces import LinearPieces
from lipreg.results import Status, meet
from lipreg.words import counted

FIRST, SHARE = 1 / 20, 1 / 4
"""Shares of a point's time for a search before the pieces, which settles most questions at once, and for the pieces."""
PROOF = "linear pieces in whole numbers"
"""The name of what they prove."""


def by_search_and_pieces(search: PointSearch) -> float:
    """A search of phases, then all linear pieces where these are over few inputs, then a search for the rest of the time.

    A search that ends with its bound above every witness, because kinks meet, leaves all of the time to the pieces, to which
    ties are nothing special. A limit on nodes is one of a search: there are no pieces then.

    Args:
        search: the search of the point, begun; how it ended is entered into it.

    Returns:
        What the upper end holds for the rounding of float64.
    """
    budget, covered = search.remaining, search.budget.nodes is None and LinearPieces.covered(search.network)
    if not covered or LinearPieces.least_seconds(search.network, budget) > SHARE * budget.seconds_left:
        return _searched(search, budget)
    words = search.left_out
    rounding = _searched(search, budget.share(FIRST))
    if search.status not in (Status.PROVED, Status.TIME_LIMIT) or not search.open_families():
        return rounding
    again, search.left_out = search.status is Status.TIME_LIMIT, words
    pieces = LinearPieces(search.network)
    if pieces.run(search.remaining.share(SHARE) if again else search.remaining):
        _close(search, pieces)
        return 0.0
    return _searched(search, search.remaining) if again else rounding


def _searched(search: PointSearch, budget: Budget) -> float:
    outcome = by_search(search, budget, "branch and bound", search.progress)
    search.detail = "" if outcome.left_out else f"{counted(outcome.cells, 'cell')} settled by LP"
    return outcome.rounding


def _close(search: PointSearch, pieces: LinearPieces) -> None:
    search.tighten(pieces.upper, PROOF)
    for point in pieces.points():  # one by one: what float64 does not show of a single point, digits do
        if meet(search.lower, pieces.upper) or search.budget.stop_reason() is not None:
            break
        search.offer(point.unsqueeze(0))
    search.status, search.detail = Status.PROVED, f"{counted(pieces.count, 'linear piece')} in whole numbers"
