"""The base class of exact estimators: searches of one point after another under a budget."""

from __future__ import annotations

from abc import abstractmethod

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.estimators.base import EstimatorTask, Watch, repeated
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.exact.remaining_time import spend_remaining_time
from lipreg.estimators.looks import late_intervals
from lipreg.estimators.relaxations.lp import ProgramEstimator
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.sampling import Sampling
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search import SearchProgress
from lipreg.search.outcome import not_begun_message

START_TURNS = 2
"""Turns of the hunt for the first witness of a search, where there is no prior interval."""
START_SHARE = 0.25
"""Share of a point's time for the hunt before its search, at most."""


class ExactEstimator(ProgramEstimator):
    """A search point by point; time that one point does not need goes to those after it, and then to those whose search
    ended for the time, or for want of time to begin (``remaining_time``).

    When the time is over no further point is begun: it has its prior interval and bounds that cost next to nothing, found
    for many points together.
    """

    certificate = Certificate.BRACKET

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        analysis, same = work.analysis, work.analysis.placed.representatives()
        known = dict(enumerate(work.known))
        intervals: dict[int, CertifiedInterval] = {}
        idle: dict[int, PointSearch] = {}
        firsts = sorted(set(same))
        for done, i in enumerate(firsts):
            share = work.budget.share(1 / (len(firsts) - done))
            over = share.stop_reason()
            if over is not None:  # the first point is looked at in any case
                rest, least = firsts[done:], 0 if done else 1
                intervals |= late_intervals(analysis, rest, work.budget, work.settings, over, known, least)
                break
            intervals[i], search = self._point(work, analysis[i : i + 1], share, known.get(i))
            if search is not None and intervals[i].status is Status.TIME_LIMIT:
                idle[i] = search
        for done, (i, search) in enumerate(idle.items()):
            intervals[i] = spend_remaining_time(search, intervals[i], work.budget.share(1 / (len(idle) - done)))
        results = []
        for i, first in enumerate(same):
            here = intervals[i] if first == i else repeated(analysis, intervals[first], i, first)
            results.append(known[i].intersect(here) if first < i and i in known else here)
        return results

    def _point(
        self, work: EstimatorTask, local: Analysis, budget: Budget, prior: CertifiedInterval | None
    ) -> tuple[CertifiedInterval, PointSearch | None]:
        """The interval of a single point, and its search where there was time to begin one."""
        over, settings = budget.stop_reason(), work.settings
        if over is not None:
            start = {} if prior is None else {0: prior}
            return late_intervals(local, [0], budget, settings, over, start, least=1)[0], None
        began, prior = budget.clock(), prior or self.start(local, budget, settings)
        search = PointSearch.begin(local, budget, settings, prior, work.progress)
        try:
            search.require_pieces()
            return self.search_point(search), search
        except OutOfBudget as over_budget:
            search.give_up(over_budget.status, not_begun_message(over_budget))
            if work.progress is not None:
                ends, families = (search.lower, float(search.uppers.max())), len(search.uppers)
                work.progress(SearchProgress(*ends, families, 0, budget.clock() - began, over_budget.lacking))
            return search.conclude(over_budget.status), search

    def at_point(
        self, local: Analysis, budget: Budget, settings: Settings, progress: Watch | None = None
    ) -> tuple[CertifiedInterval, int]:
        """The interval of a single point without a prior interval, and how many nodes its search took.

        Args:
            local: the analysis of the single point.
            budget, settings, progress: as for ``intervals``.

        Raises:
            UnsupportedRequest: question or network are outside what the method covers.
        """
        self.check(local.placed.problem, local.graph)
        work = EstimatorTask(local, budget.started(), settings, progress=progress)
        interval, search = self._point(work, local, work.budget, None)
        if search is not None and interval.status is Status.TIME_LIMIT:
            interval = spend_remaining_time(search, interval, work.budget)
        return interval, 0 if search is None else search.nodes

    def start(self, local: Analysis, budget: Budget, settings: Settings) -> CertifiedInterval:
        """The lower end that the search of a single point starts from without a prior interval.

        Args:
            local: the analysis of the single point.
            budget: the budget of the point; the start takes ``START_SHARE`` of its time at most.
            settings: its seed is that of the hunt.
        """
        return Sampling(START_TURNS).intervals(local, budget.share(START_SHARE), settings)[0]

    def condition(self, problem: LocalLipschitz) -> str:
        """The condition on the network under which the constant itself is reached, in words; empty where there is none."""
        return ""

    def exact(self, problem: LocalLipschitz) -> bool:
        """Whether a search that ends finds the constant itself, under its condition, and not an interval around it."""
        return True

    @abstractmethod
    def search_point(self, search: PointSearch) -> CertifiedInterval:
        """The interval of one point; ends at the search's deadline or when it is stopped.

        Args:
            search: the state of the search, begun from the prior interval and from closed forms.

        Raises:
            OutOfBudget: there was no time to fold the network; the bounds in the search hold.
        """
