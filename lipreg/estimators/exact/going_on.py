"""What is done with time that a search leaves which could not go on: closed forms again, and a hunt for witnesses."""

from __future__ import annotations

import torch

from lipreg.budget import Budget
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.exact.starting import every_form
from lipreg.estimators.witnesses.sampling import PROVED, hunt_on
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.results import CertifiedInterval
from lipreg.search.hunt import Hunt
from lipreg.search.screen import Screen
from lipreg.words import counted, sentences

HUNTED = 0.9
"""Share of the time for the hunt; what it finds has to be proved."""


def go_on(search: PointSearch, found: CertifiedInterval, budget: Budget) -> CertifiedInterval:
    """The interval of a search that had no time for its next step, with what the rest of the time adds to it.

    Closed forms that left something out are asked again, where there is more time for them than they had. Whatever time
    they leave goes to a hunt from the search's witness (``lipreg.search.hunt``).

    Args:
        found: what it proved.
        budget: started; what is left for this point.
    """
    if not search.open_families() or budget.ended() is not None:
        return found
    if search.short and budget.seconds_left > search.given:
        asked_about = search.asked_about
        with torch.no_grad():  # of an analysis that keeps nothing of what was cut short
            again = every_form(search.network, asked_about.asking(asked_about.placed), budget)
        search.tighten(again.uppers, again.proof)
        search.short = again.left_out
    _hunt(search, budget)
    return search.conclude(search.status)


def _hunt(search: PointSearch, budget: Budget) -> None:
    """Turns of a hunt until the time ends, or nothing is left to find; its best points are offered."""
    local, upper = search.network, float(search.uppers.max()) * (1 - search.budget.gap)
    # its draws are others than those that the search began with
    (generator,) = local.placed.region.generators(search.settings.seed + 1)
    hunt = Hunt(Screen(local, budget.memory), generator)
    if search.witness is not None:
        shape = local.placed.region.shape
        hunt.take(torch.tensor(search.witness.point, dtype=torch.float64).reshape(1, *shape))
    hunt_on(hunt, budget.share(HUNTED), upper)
    best = best_witness(local, 0, hunt.found(PROVED), search.lower, budget)
    search.witness = best or search.witness
    search.left_out = sentences(search.left_out, f"The rest of the time went to {counted(hunt.looked_at, 'point')}")
