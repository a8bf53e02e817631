"""From where a search starts: the least of what closed forms prove of each family, as far as its budget goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, known_pairs, linear_jacobian, underflow, within_shared
from lipreg.budget import Budget
from lipreg.estimators.base import ROUNDING
from lipreg.estimators.jacobians.deviation import deviation_bound, row_bounds, written_down
from lipreg.estimators.jacobians.mixing import Mixing, relaxed_rows
from lipreg.estimators.unreached import cheap_intervals
from lipreg.folding import first_work, fold_work, least_work
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
        left_out: what there was no time for.
    """

    uppers: np.ndarray
    proof: str
    left_out: str = ""


Proved = tuple[str, np.ndarray | float, str]
"""What proves upper ends of the families, these, and what there was no time for."""


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
    own = replace(budget, nodes=None)
    if not foldable(asked_about, local, budget):
        return _least(_every(network, asked_about, None, own))
    own, (apart, _) = own.share(FOLDED), families(local)
    if known_pairs(apart) or not budget.affords(first_work(apart), LATE):
        return _least(_every(network, asked_about, local, own))
    proved = list(_linear(asked_about, local, own))
    return _least([*proved, _cheap(network, own)] if any(words for _, _, words in proved) else proved)


def every_form(network: Analysis, asked_about: Analysis, budget: Budget) -> Start:
    """The least upper ends by every closed form of the question as it was asked, with all of the time that is left."""
    return _least(_every(network, asked_about, None, replace(budget, nodes=None)))


def foldable(asked_about: Analysis, local: Analysis, budget: Budget) -> bool:
    """Whether the network should be folded once closed forms had their part of the time.

    The one without max pools is not asked where that with them, which has fewer units, is too large already.
    """
    parts = (families(analysis)[0] for analysis in dict.fromkeys((asked_about, local)))
    return all(budget.affords(work(part), 1 - FOLDED) for part in parts for work in (least_work, fold_work))


def _least(proved: Iterable[Proved]) -> Start:
    """The smallest upper ends of all, and the words of the first that says what it left out."""
    ends = list(proved)
    proof, least, _ = ends[0]
    for name, uppers, _ in ends[1:]:
        proof = name if np.max(uppers) < np.max(least) else proof
        least = np.minimum(least, uppers)
    return Start(np.asarray(least, dtype=float), proof, next((words for _, _, words in ends if words), ""))


def _every(network: Analysis, asked_about: Analysis, local: Analysis | None, budget: Budget) -> Iterator[Proved]:
    """Deviations where half of the time is enough to write them down, else where what linear bounds leave is.

    Written down, their relaxation is mostly the least of all, and has most of the time.
    """
    found = _deviations(network, budget, 0.5)
    cheap = _cheap(network, budget)
    yield from _linear(asked_about, local, budget)
    yield cheap
    whole = found is not None and not found[2]
    again = None if whole else _deviations(network, budget, 1.0)
    if found is not None:
        yield found if again is None else (*found[:2], "")
    if again is not None:
        yield again


def _cheap(network: Analysis, budget: Budget) -> Proved:
    (cheapest,) = cheap_intervals(network, budget)
    return cheapest.proof, cheapest.upper, ""


def _deviations(network: Analysis, budget: Budget, share: float) -> Proved | None:
    """Those of ``mixing`` or ``deviation``; None where these are too many for the memory, or for a share of the time."""
    apart, (first, *_) = families(network)
    found, _ = written_down(apart, budget.share(share))
    if found is None:
        return None
    name, placed, missing = "deviation", apart.placed, 0
    if first.signs:
        bounds = deviation_bound(placed, found) - found.loss
    elif Mixing().uncovered(placed.problem, network.graph) is None:
        name, (bounds, missing) = "mixing", relaxed_rows(placed, found, budget.share(RELAXED))
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
