"""From where a search starts: the least of what closed forms prove of each family, as far as its budget goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, known_pairs, linear_jacobian, underflow, within_shared
from lipreg.bounds.deviation import deviations_work
from lipreg.budget import Budget
from lipreg.estimators.base import ROUNDING
from lipreg.estimators.jacobians.deviation import Deviation, deviation_bound, row_bounds, written_down
from lipreg.estimators.jacobians.mixing import Mixing, relaxed_rows
from lipreg.estimators.unreached import cheap_intervals
from lipreg.folding import first_work, least_work, search_work
from lipreg.milp import families

LATE = 0.05
"""Share of the time that is left by which a search's own first bounds should be there. They come from the same relaxations
as closed forms, so that it then needs none of these but the linear one."""
FOLDED = 0.5
"""Share of the time that is left for closed forms where a search follows them."""
RELAXED = 0.8
"""Share of the time that is left for the relaxation of deviations."""
LINEAR = "linear bounds on the Jacobian"


@dataclass(frozen=True)
class Start:
    """What closed forms prove.

    Attributes:
        uppers: of each family, ``(families,)``.
        proof: what proves the largest.
        budget: that of the whole search, by which work is judged as theirs went.
        given: seconds that they were given.
        left_out: what there was no time for.
    """

    uppers: np.ndarray
    proof: str
    budget: Budget
    given: float
    left_out: str = ""


Proved = tuple[str, np.ndarray | float, str]
"""What proves upper ends of the families, these, and what there was no time for."""


class _Time:
    """The time of closed forms: half of it as long as a search can follow, all of it from when none can.

    Whether one can is asked before each form anew, of how work has been seen to go by then.

    Args:
        network: as it was asked about, in a bounded region.
        local: the same without max pools, which is searched; None where no search is to follow.
        budget: started, of the whole search.
    """

    def __init__(self, network: Analysis, local: Analysis | None, budget: Budget) -> None:
        self.network, self.local = network, local
        self.budget = budget
        self._half, self._seconds = budget.share(FOLDED), (1 - FOLDED) * budget.seconds_left
        self.given = 0.0

    @property
    def followed(self) -> bool:
        """Whether the network should be folded, and a node bounded, once closed forms had their part of the time.

        The one without max pools is not asked where that with them, which has fewer units, is too large already.
        """
        if self.local is None or self.budget.ended() is not None:
            return False
        parts = (families(analysis)[0] for analysis in dict.fromkeys((self.network, self.local)))
        able = self.budget.pace * self._seconds
        return all(work(part) <= able for part in parts for work in (least_work, search_work))

    def part(self) -> Budget:
        """What the next form may take, which is given to it."""
        own = self.budget.share(1.0)
        if self.followed:
            own = replace(own, deadline=self._half.deadline)
        self.given = max(self.given, own.seconds_left)
        return replace(own, nodes=None)


def start(network: Analysis, asked_about: Analysis, local: Analysis, budget: Budget) -> Start:
    """The least upper ends of a single point's families.

    A small question is its search's: what that would bound at once by itself is not bounded twice. Of a large one, whose
    network is folded late or never, and of a difference of networks, whose layers closed forms alone take together, every
    closed form is taken that there is time for, the cheapest first: those of a few passes, deviations and their relaxation,
    then linear bounds on the Jacobian.

    Args:
        network: as it was asked about.
        asked_about: the same in a bounded region.
        local: the same without max pools, which is searched. Where no search can follow nothing is asked of it.
        budget: started, of the whole search; half of what is left is for this, all of it where no search can follow.
    """
    time = _Time(asked_about, local, budget)
    if time.followed and not large(local, budget):
        own = time.part()
        proved = list(_linear(asked_about, local, own))
        return _least([*proved, _cheap(network, own)] if any(words for _, _, words in proved) else proved, time)
    return _least(_every(network, asked_about, time), time)


def every_form(network: Analysis, asked_about: Analysis, budget: Budget) -> Start:
    """The least upper ends by every closed form of the question as it was asked, with all of the time that is left."""
    time = _Time(asked_about, None, budget)
    return _least(_every(network, asked_about, time), time)


def large(local: Analysis, budget: Budget) -> bool:
    """Whether closed forms come before the search: its own first bounds are late, or they know nothing of what two networks
    have in common."""
    return bool(known_pairs(families(local)[0])) or late(local, budget)


def late(local: Analysis, budget: Budget) -> bool:
    """Whether a search's own first bounds would be there late, or never."""
    return not budget.affords(first_work(families(local)[0]), LATE)


def _least(proved: Iterable[Proved], time: _Time) -> Start:
    """The smallest upper ends of all, and the words of the first that says what it left out."""
    ends = list(proved)
    proof, least, _ = ends[0]
    for name, uppers, _ in ends[1:]:
        proof = name if np.max(uppers) < np.max(least) else proof
        least = np.minimum(least, uppers)
    words = next((words for _, _, words in ends if words), "")
    return Start(np.asarray(least, dtype=float), proof, time.budget, time.given, words)


def _every(network: Analysis, asked_about: Analysis, time: _Time) -> Iterator[Proved]:
    """Deviations where half of the time is enough to write them down, else where what linear bounds leave is.

    Written down, their relaxation is mostly the least of all, and has most of the time.
    """
    cheap = _cheap(network, time.part())
    found = _deviations(network, time, 0.5)
    local = time.local if time.followed else None
    yield from _linear(asked_about, local, time.part())
    yield cheap
    whole = found is not None and not found[2]
    again = None if whole else _deviations(network, time, 1.0)
    if found is not None:
        yield found if again is None else (*found[:2], "")
    if again is not None:
        yield again


def _cheap(network: Analysis, budget: Budget) -> Proved:
    (cheapest,) = cheap_intervals(network, budget)
    return cheapest.proof, cheapest.upper, ""


def _deviations(network: Analysis, time: _Time, share: float) -> Proved | None:
    """Those of ``mixing`` or ``deviation``; None where these are too many for the memory, or for a share of the time."""
    apart, (first, *_) = families(network)
    began = time.budget.clock()
    found, _ = written_down(apart, time.part().share(share))
    if found is None:
        return None
    if not known_pairs(apart):  # one set of passes, of folding's kind
        time.budget = time.budget.seen(deviations_work(apart), began)
    name, placed, missing = Deviation().named(network), apart.placed, 0
    if first.signs:
        bounds = deviation_bound(placed, found) - found.loss
    elif Mixing().uncovered(placed.problem, network.graph) is None:
        name, (bounds, missing) = Mixing().named(network), relaxed_rows(placed, found, time.part().share(RELAXED))
    else:
        bounds = row_bounds(placed, found)
    words = f"There was no time for the relaxed deviations of {missing} of {len(bounds)} rows" if missing else ""
    return name, _widened(network, (bounds + found.loss).numpy()), words


def _linear(asked_about: Analysis, local: Analysis | None, budget: Budget) -> Iterator[Proved]:
    """By linear bounds: of the network with its max pools, of which more is known than of the ReLUs in their place, then in
    the time that this leaves of the one that is searched."""
    for analysis in dict.fromkeys((asked_about, local or asked_about)):
        apart, (first, *_) = families(analysis)
        found = linear_jacobian(apart, budget)
        if first.signs:
            bounds = within_shared(apart, torch.maximum(found.lower.abs(), found.upper.abs()))
        else:
            bounds = found.row_norms()[0]
        yield LINEAR, _widened(asked_about, bounds.numpy()), found.left_out if analysis is asked_about else ""


def _widened(analysis: Analysis, bounds: np.ndarray) -> np.ndarray:
    return bounds * (1 + ROUNDING) + float(underflow(analysis).max())
