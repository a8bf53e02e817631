"""What the exact estimators share: points one after another under a budget."""

from __future__ import annotations

from abc import abstractmethod

from lipreg.bounds import Analysis
from lipreg.budget import Budget, OutOfBudget
from lipreg.estimators.base import Watch, Work, repeated
from lipreg.estimators.exact.going_on import go_on
from lipreg.estimators.exact.point_search import PointSearch
from lipreg.estimators.relaxations.lp import ProgramEstimator
from lipreg.estimators.settings import Settings
from lipreg.estimators.unreached import unreached
from lipreg.estimators.witnesses.sampling import RandomPoints, Sampling
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.outcome import unfolded

START_TURNS = 2
"""Of the hunt that gives a search its first witness, where sampling has not run before."""
START_SHARE = 0.25
"""Of a point's time, for that start at most."""


class ExactEstimator(ProgramEstimator):
    """A search point by point; what one point leaves of the time goes to those after it, and then to those whose search
    ended for the time, or for want of time to begin (``going_on``).

    When the time has ended no further point is begun: what is said of it is known already, or costs next to nothing.
    """

    certificate = Certificate.BRACKET

    def answer(self, work: Work) -> list[CertifiedInterval]:
        analysis, same = work.analysis, work.analysis.placed.same()
        known = dict(enumerate(work.known))
        found: dict[int, CertifiedInterval] = {}
        idle: dict[int, PointSearch] = {}
        firsts = sorted(set(same))
        for done, i in enumerate(firsts):
            own = work.budget.share(1 / (len(firsts) - done))
            found[i], search = self._point(work, analysis[i : i + 1], own, known.get(i))
            if search is not None and found[i].status is Status.TIME_LIMIT:
                idle[i] = search
        for done, (i, search) in enumerate(idle.items()):
            found[i] = go_on(search, found[i], work.budget.share(1 / (len(idle) - done)))
        results = []
        for i, first in enumerate(same):
            here = found[i] if first == i else repeated(analysis, found[first], i, first)
            results.append(known[i].intersect(here) if first < i and i in known else here)
        return results

    def _point(
        self, work: Work, local: Analysis, own: Budget, known: CertifiedInterval | None
    ) -> tuple[CertifiedInterval, PointSearch | None]:
        """The interval of a single point, and its search where there was time to begin one."""
        over, settings = own.ended(), work.settings
        if over is not None:
            return unreached(local, own, over, known or RandomPoints().intervals(local, own, settings)[0]), None
        known = known or self.start(local, own, settings)
        search = PointSearch.begin(local, own, settings, known, work.progress)
        try:
            return self.search(search), search
        except OutOfBudget as ended:
            search.give_up(ended.status, unfolded(ended))
            return search.conclude(ended.status), search

    def at_point(
        self, local: Analysis, budget: Budget, settings: Settings, progress: Watch | None = None
    ) -> tuple[CertifiedInterval, int]:
        """What ``intervals`` finds at a single point of which nothing is known, and how many nodes that took.

        Args and errors are those of ``intervals``.
        """
        self.check(local.placed.problem, local.graph)
        work = Work(local, budget.started(), settings, progress=progress)
        found, search = self._point(work, local, work.budget, None)
        if search is not None and found.status is Status.TIME_LIMIT:
            found = go_on(search, found, work.budget)
        return found, 0 if search is None else search.nodes

    def start(self, local: Analysis, budget: Budget, settings: Settings) -> CertifiedInterval:
        """The lower end from which the search of a single point starts where nothing is known.

        Args:
            budget: of the point.
        """
        return Sampling(START_TURNS).intervals(local, budget.share(START_SHARE), settings)[0]

    def condition(self, problem: LocalLipschitz) -> str:
        """Under which condition on the network the constant itself is reached, in words; empty where there is none."""
        return ""

    def exact(self, problem: LocalLipschitz) -> bool:
        """Whether a search that ends finds the constant itself, under its condition, and not an interval around it."""
        return True

    @abstractmethod
    def search(self, search: PointSearch) -> CertifiedInterval:
        """The interval of one point; ends at the search's deadline or when it is stopped.

        Raises:
            OutOfBudget: there was no time to fold the network; what is entered into the search holds.
        """
