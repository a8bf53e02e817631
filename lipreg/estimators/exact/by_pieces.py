"""Questions about one or two inputs: linear pieces one by one, where a search of phases leaves something open."""

from __future__ import annotations

from collections.abc import Callable

from lipreg.budget import Budget
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.milp.planar_pieces import LinearPieces
from lipreg.results import Status, meet
from lipreg.words import counted

FIRST, SHARE = 1 / 20, 1 / 4
"""Shares of a point's time for a search before the pieces, which settles most questions at once, and for the pieces."""
PROOF = "linear pieces in whole numbers"
"""The name of what they prove."""
UNSEEN = (
    "The upper end is the constant, rounded up: no float64 point was found that attains it. The best points lie on kinks or "
    "a border, or in a piece too thin for float64"
)
"""Why an interval stays open whose upper end all pieces prove."""
SMALL = "What is left is rounding over small distances"
"""Why the interval of a quotient stays open that a search has done its work on."""
UNFINISHED = "The search left something open, and there was no time for all linear pieces"
"""What a larger budget has time for."""


def by_search_and_pieces(search: PointSearch, searched: Callable[[Budget], str]) -> str:
    """A search of phases, then all linear pieces where these are over few inputs, then a search for the rest of the time.

    A search that ends with its bound above every witness, because kinks meet or distances are small, leaves all of the time
    to the pieces, to which ties are nothing special. A limit on nodes is one of a search: there are no pieces then.

    Args:
        search: the search of the point, begun; how it ended is entered into it.
        searched: searches within a budget, and returns why something may be left open once it has ended, in words.

    Returns:
        Why something is left open, in words.
    """
    budget, covered = search.remaining, search.budget.nodes is None and LinearPieces.covered(search.network)
    if not covered or LinearPieces.least_seconds(search.network, budget) > SHARE * budget.seconds_left:
        return searched(budget)
    before = search.left_out
    words = searched(budget.share(FIRST))
    if search.status not in (Status.PROVED, Status.TIME_LIMIT) or not search.open_families():
        return words
    # with so small a share it may have left out steps for which all of the time is enough
    again, search.left_out = search.status is Status.TIME_LIMIT or search.left_out != before, before
    pieces = LinearPieces(search.network)
    if pieces.run(search.remaining.share(SHARE) if again else search.remaining):
        _close(search, pieces)
        return "" if meet(search.lower, float(search.uppers.max())) else UNSEEN
    if again:
        search.status = Status.PROVED
        return searched(search.remaining)
    over = search.budget.stop_reason()
    if over is not None:
        search.give_up(over, f"{UNFINISHED}: {pieces.count:,} were taken")
    return words


def _close(search: PointSearch, pieces: LinearPieces) -> None:
    search.tighten(pieces.upper, PROOF)
    for bound, points in pieces.points():
        for point in points:  # one by one: what float64 does not show of a single point, digits do
            if bound <= search.lower or meet(search.lower, pieces.upper) or search.budget.stop_reason() is not None:
                break
            search.offer(point.unsqueeze(0))
    search.forms_left_out = ""  # what closed forms might have narrowed is the constant now
    search.status, search.detail = Status.PROVED, f"{counted(pieces.count, 'linear piece')} in whole numbers"
