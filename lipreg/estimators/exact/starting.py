"""The upper bounds that a search starts from: for each family the least of closed forms, as far as the budget goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from lipreg.bounds import Analysis, layer_pairs, linear_jacobian, linear_row_norms, underflow, within_shared
from lipreg.bounds.deviation import deviations_work
from lipreg.budget import Budget
from lipreg.estimators.cheap_bounds import cheap_intervals
from lipreg.estimators.jacobians.deviation import Deviation, deviation_bound, row_bounds, written_down
from lipreg.estimators.jacobians.mixing import Mixing, relaxed_rows
from lipreg.estimators.naming import cut_name
from lipreg.estimators.rounding import ROUNDING
from lipreg.folding import first_work, least_work, search_work
from lipreg.milp import families

LATE = 0.05
"""Share of the remaining time within which a search's own first bounds should be there. They come from the same relaxations
as closed forms, of which it then needs the linear one alone."""
FOLDED = 0.5
"""Share of the remaining time for closed forms where a search follows them."""
RELAXED = 0.8
"""Share of the remaining time for the relaxation of deviations."""
LINEAR = "linear bounds on the Jacobian"


@dataclass(frozen=True)
class Start:
    """The upper bounds of closed forms.

    Attributes:
        uppers: the upper bound of each family, ``(families,)``.
        proof: the name of what proves the largest.
        budget: that of the whole search, with the rate of work that was measured on the way.
        granted_seconds: the time that one closed form had at most.
        left_out: what there was no time for, in words.
    """

    uppers: np.ndarray
    proof: str
    budget: Budget
    granted_seconds: float
    left_out: str = ""


Proved = tuple[str, np.ndarray | float, str]
"""The name of a proof, the upper bounds of the families, and what there was no time for, in words."""


class _Time:
    """The time of closed forms: half of the rest where a search can follow, all of it where none can.

    Whether one can is judged anew before each form, by the rate of work so far.

    Args:
        network: the analysis of the question, in a bounded region.
        local: the same without max pools, which is searched; None where no search is to follow.
        budget: the budget of the whole search, started.
    """

    def __init__(self, network: Analysis, local: Analysis | None, budget: Budget) -> None:
        self.network, self.local = network, local
        self.budget = budget
        self._half, self._seconds = budget.share(FOLDED), (1 - FOLDED) * budget.seconds_left
        self.granted_seconds = 0.0

    @property
    def followed(self) -> bool:
        """Whether there is time to fold the network, and to bound a node, after closed forms had their part of it.

        The network without max pools is not judged where that with them, which has fewer units, is too large already.
        """
        if self.local is None or self.budget.stop_reason() is not None:
            return False
        parts = (families(analysis)[0] for analysis in dict.fromkeys((self.network, self.local)))
        affordable = self.budget.pace * self._seconds
        return all(work(part) <= affordable for part in parts for work in (least_work, search_work))

    def part(self) -> Budget:
        """The budget of the next form."""
        share = self.budget.share(1.0)
        if self.followed:
            share = replace(share, deadline=self._half.deadline)
        self.granted_seconds = max(self.granted_seconds, share.seconds_left)
        return replace(share, nodes=None)


def start(network: Analysis, bounded_analysis: Analysis, local: Analysis, budget: Budget) -> Start:
    """The least upper bounds of a single point's families.

    A small question has linear bounds on the Jacobian alone: its search bounds the rest at once. A large one, whose network
    is folded late or never, and a difference of networks, whose layers closed forms alone take together, has every closed
    form that there is time for, the cheapest first: those of a few passes, deviations and their relaxation, then linear
    bounds on the Jacobian.

    Args:
        network: the analysis of the question.
        bounded_analysis: the same in a bounded region.
        local: the same without max pools, which is searched; it is not read where no search can follow.
        budget: the budget of the whole search, started; half of the rest is for this, all of it where no search can follow.
    """
    time = _Time(bounded_analysis, local, budget)
    if time.followed and not large(local, budget):
        share = time.part()
        proved = list(_linear(bounded_analysis, local, share))
        return _least([*proved, _cheap(network, share)] if any(words for _, _, words in proved) else proved, time)
    return _least(_every(network, bounded_analysis, time), time)


def every_form(network: Analysis, bounded_analysis: Analysis, budget: Budget) -> Start:
    """The least upper bounds by every closed form, with all of the remaining time.

    Args:
        network: the analysis of the question.
        bounded_analysis: the same in a bounded region.
        budget: the remaining budget, started.
    """
    time = _Time(bounded_analysis, None, budget)
    return _least(_every(network, bounded_analysis, time), time)


def large(local: Analysis, budget: Budget) -> bool:
    """Whether closed forms come before the search: its own first bounds are late, or ignore what two networks have in
    common."""
    return bool(layer_pairs(families(local)[0])) or late(local, budget)


def late(local: Analysis, budget: Budget) -> bool:
    """Whether a search's own first bounds would be there late, or never."""
    return not budget.affords(first_work(families(local)[0]), LATE)


def _least(proved: Iterable[Proved], time: _Time) -> Start:
    """The smallest upper bounds of all, and the words of the first that left something out."""
    ends = list(proved)
    proof, least, _ = ends[0]
    for name, uppers, _ in ends[1:]:
        proof = name if np.max(uppers) < np.max(least) else proof
        least = np.minimum(least, uppers)
    words = next((words for _, _, words in ends if words), "")
    return Start(np.asarray(least, dtype=float), proof, time.budget, time.granted_seconds, words)


def _every(network: Analysis, bounded_analysis: Analysis, time: _Time) -> Iterator[Proved]:
    """All closed forms; deviations first where half of the time is enough to write them down, else after linear bounds.

    The relaxation of deviations is mostly the least of all, and has most of the time.
    """
    cheap = _cheap(network, time.part())
    deviations = _deviations(network, time, 0.5)
    local = time.local if time.followed else None
    yield from _linear(bounded_analysis, local, time.part())
    yield cheap
    whole = deviations is not None and not deviations[2]
    again = None if whole else _deviations(network, time, 1.0)
    if deviations is not None:
        yield deviations if again is None else (*deviations[:2], "")
    if again is not None:
        yield again


def _cheap(network: Analysis, budget: Budget) -> Proved:
    (cheapest,) = cheap_intervals(network, budget)
    return cheapest.proof, cheapest.upper, ""


def _deviations(network: Analysis, time: _Time, share: float) -> Proved | None:
    """The bounds of ``mixing`` or ``deviation``; None where deviations are too many for the memory, or for the time."""
    apart, (first, *_) = families(network)
    began = time.budget.clock()
    terms, _, _ = written_down(apart, time.part().share(share))
    if terms is None:
        return None
    if not layer_pairs(apart):  # one set of passes, of folding's kind
        time.budget = time.budget.with_measured_rate(deviations_work(apart), began)
    name, placed, missing = Deviation().named(network), apart.placed, 0
    if first.signs:
        bounds = deviation_bound(placed, terms) - terms.loss
    elif Mixing().uncovered(placed.problem, network.graph) is None:
        name, (bounds, missing) = Mixing().named(network), relaxed_rows(placed, terms, time.part().share(RELAXED))
    else:
        bounds = row_bounds(placed, terms)
    words = f"There was no time for the relaxed deviations of {missing} of {len(bounds)} rows" if missing else ""
    name = cut_name(name) if missing else name
    return name, _widened(network, (bounds + terms.loss).numpy()), words


def _linear(bounded_analysis: Analysis, local: Analysis | None, budget: Budget) -> Iterator[Proved]:
    """Linear bounds: of the network with its max pools, which are tighter than of the ReLUs in their place, then in the
    rest of the time of the one that is searched."""
    for analysis in dict.fromkeys((bounded_analysis, local or bounded_analysis)):
        apart, (first, *_) = families(analysis)
        if first.signs:
            jacobian = linear_jacobian(apart, budget)
            bounds = within_shared(apart, torch.maximum(jacobian.lower.abs(), jacobian.upper.abs()))
            words = jacobian.left_out
        else:
            (bounds, *_), words = linear_row_norms(apart, budget)
        name = cut_name(LINEAR) if words or analysis.left_out else LINEAR
        yield name, _widened(bounded_analysis, bounds.numpy()), words if analysis is bounded_analysis else ""


def _widened(analysis: Analysis, bounds: np.ndarray) -> np.ndarray:
    return bounds * (1 + ROUNDING) + float(underflow(analysis).max())
