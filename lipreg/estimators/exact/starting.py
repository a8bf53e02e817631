"""From where a search starts: the least of what closed forms prove of each family, as far as its budget goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, linear_jacobian, underflow, within_shared
from lipreg.budget import Budget
from lipreg.estimators.base import ROUNDING
from lipreg.estimators.jacobians.deviation import deviation_bound, row_bounds, written_down
from lipreg.estimators.jacobians.mixing import Mixing, relaxed_rows
from lipreg.estimators.unreached import cheap_intervals
from lipreg.folding import first_work, fold_work
from lipreg.milp import families

LATE = 0.05
"""Share of the time that is left by which a search's own first bounds should be there. They come from the same relaxations
as closed forms, so that it then needs none of these but the linear one."""
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
    network is folded late or never, every closed form is taken that there is time for, the cheapest first: those of a few
    passes, deviations and their relaxation, then linear bounds on the Jacobian.

    Args:
        network: as it was asked about.
        asked_about: the same in a bounded region.
        local: the same without max pools, which is searched.
        budget: started, of the whole search; half of what is left is for this, all of it where no search can follow.
    """
    apart, _ = families(local)
    late = not budget.affords(first_work(apart), LATE)
    own = budget.share(0.5) if budget.affords(fold_work(apart)) else budget
    proved = list(
        _every(network, asked_about, local, replace(own, nodes=None)) if late else _linear(asked_about, local, own)
    )
    left_out = next((words for _, _, words in proved if words), "")
    if left_out and not late:
        proved.append(_cheap(network))
    least, proof = proved[0][1], proved[0][0]
    for name, uppers, _ in proved[1:]:
        proof = name if np.max(uppers) < np.max(least) else proof
        least = np.minimum(least, uppers)
    return Start(np.asarray(least, dtype=float), proof, left_out)


def _every(network: Analysis, asked_about: Analysis, local: Analysis, budget: Budget) -> Iterator[Proved]:
    found = _deviations(network, budget.share(0.5))
    cheap = _cheap(network)
    yield from _linear(asked_about, local, budget)
    yield cheap
    if found is not None:
        yield found


def _cheap(network: Analysis) -> Proved:
    (cheapest,) = cheap_intervals(network)
    return cheapest.proof, cheapest.upper, ""


def _deviations(network: Analysis, budget: Budget) -> Proved | None:
    """Those of ``mixing`` or ``deviation``; None where these are too many."""
    apart, (first, *_) = families(network)
    found, _ = written_down(apart, budget)
    if found is None:
        return None
    name, placed = "deviation", apart.placed
    if first.signs:
        bounds = deviation_bound(placed, found) - found.loss
    elif Mixing().uncovered(placed.problem, network.graph) is None:
        name, (bounds, _) = "mixing", relaxed_rows(placed, found, budget)
    else:
        bounds = row_bounds(placed, found)
    return name, _widened(network, (bounds + found.loss).numpy()), ""


def _linear(asked_about: Analysis, local: Analysis, budget: Budget) -> Iterator[Proved]:
    """By linear bounds: of the network that is searched, and of its max pools, of which more is known than of the ReLUs in
    their place."""
    for analysis in dict.fromkeys((local, asked_about)):
        apart, (first, *_) = families(analysis)
        found = linear_jacobian(apart, budget.share(0.5) if analysis is not asked_about else budget)
        if first.signs:
            bounds = within_shared(apart, apart.placed.combine(torch.maximum(found.lower.abs(), found.upper.abs())))
        else:
            bounds = found.row_norms()[0]
        yield LINEAR, _widened(asked_about, bounds.numpy()), found.left_out


def _widened(analysis: Analysis, bounds: np.ndarray) -> np.ndarray:
    return bounds * (1 + ROUNDING) + float(underflow(analysis).max())
