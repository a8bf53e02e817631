"""Use of the time that remains where a search could not go on: closed forms again, and a hunt for witnesses."""

from __future__ import annotations

import torch

from lipreg.budget import Budget
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.exact.starting import every_form
from lipreg.estimators.witnesses.sampling import PROVED, hunt_on
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.results import CertifiedInterval
from lipreg.search.hunt import WitnessSearch
from lipreg.search.screen import PointEvaluator
from lipreg.words import counted, sentences

HUNTED = 0.9
"""Share of the time for the hunt; the rest is for the proof of its best points."""


def spend_remaining_time(search: PointSearch, interval: CertifiedInterval, budget: Budget) -> CertifiedInterval:
    """The interval of a search that had no time for its next step, improved in the remaining time.

    Closed forms that left something out are computed again, where there is more time for them than they had. The rest of the
    time goes to a hunt from the search's witness (``lipreg.search.hunt``).

    Args:
        search: the search, which has ended.
        interval: the interval that it proved.
        budget: the remaining budget of this point, started.
    """
    if not search.open_families() or budget.stop_reason() is not None:
        return interval
    if search.forms_left_out and budget.seconds_left > search.granted_seconds:
        with torch.no_grad():
            again = every_form(search.network, search.bounded_analysis, budget)
        idle = search.proof == search.closed_form
        search.tighten(again.uppers, again.proof)
        search.closed_form = search.proof if idle else search.closed_form
        search.forms_left_out = again.left_out
    _hunt(search, budget)
    return search.conclude(search.status)


def _hunt(search: PointSearch, budget: Budget) -> None:
    """Runs a hunt until the time ends or its bound is reached, and takes the best of its points as the witness."""
    local, upper = search.network, float(search.uppers.max()) * (1 - search.budget.gap)
    # its draws are others than those that the search began with
    (generator,) = local.placed.region.generators(search.settings.seed + 1)
    hunt = WitnessSearch(PointEvaluator(local, budget.memory), generator)
    if search.witness is not None:
        shape = local.placed.region.shape
        hunt.take(torch.tensor(search.witness.point, dtype=torch.float64).reshape(1, *shape))
    hunt_on(hunt, budget.share(HUNTED), upper)
    best = best_witness(local, 0, hunt.best_points(PROVED), search.lower, budget)
    search.witness = best or search.witness
    search.left_out = sentences(search.left_out, f"The rest of the time went to {counted(hunt.looked_at, 'point')}")
