"""Estimators that fail, contradict or take all their time, for what an audit makes of them; worker processes import them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, Estimator, EstimatorTask, register
from lipreg.estimators.base import upper_interval
from lipreg.results import Certificate, CertifiedInterval

X = torch.tensor([[0.1, -0.2], [0.4, 0.3], [-0.5, 0.2], [0.7, 0.6], [-0.2, -0.8]], dtype=torch.float64)
"""The points that are audited."""


class AtSecond(Estimator):
    """An estimator that does something at the second point, and gives a loose bound at every one."""

    certificate = Certificate.UPPER
    searches = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        second = any(torch.equal(center, X[1]) for center in work.analysis.placed.region.center)
        return [
            upper_interval(work.analysis, i, self.bound(second, work.budget), "a loose theorem")
            for i in range(work.analysis.placed.batch)
        ]

    def bound(self, second: bool, budget: Budget) -> float:
        """The upper end that it claims, at the second point or at another."""
        return 1e3


class FailingEstimator(AtSecond):
    """An estimator that raises at the second point."""

    def bound(self, second: bool, budget: Budget) -> float:
        if second:
            raise MemoryError("no more")
        return 1e3


class ContradictingEstimator(AtSecond):
    """An estimator that claims too small an upper end at the second point."""

    def bound(self, second: bool, budget: Budget) -> float:
        return 1e-3 if second else 1e3


class WaitingEstimator(AtSecond):
    """An estimator that takes all its time, or until it is stopped; ``began`` is set once it runs in this process."""

    began = threading.Event()

    def bound(self, second: bool, budget: Budget) -> float:
        self.began.set()
        while not budget.stop.is_set() and budget.seconds_left > 0:  # type: ignore[union-attr]
            time.sleep(0.01)
        return 1e3


@contextmanager
def registered_as(kind: type[Estimator]) -> Iterator[str]:
    """Registers an estimator inside the block, and gives its name."""
    name = f"testing_{kind.__name__.lower()}"
    register(name)(kind)
    try:
        yield name
    finally:
        del ESTIMATORS[name]
