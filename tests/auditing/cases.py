"""A small question with known answers, and estimators that misbehave at its second point.

They are in a module, as worker processes import them, and registered for one test at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lipreg.budget import Budget
from lipreg.estimators import Estimator, EstimatorTask
from lipreg.estimators.base import lower_interval, upper_interval
from lipreg.outputs import AllMargins
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles

PROBLEM = LocalLipschitz(LinfBall(0.5), AllMargins())
X = torch.tensor([[0.1, -0.2], [0.4, 0.3], [-0.5, 0.2], [0.7, 0.6], [-0.2, -0.8]], dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0, 1])
NET = oracles.network("shallow")


def truth(point: int) -> float:
    """By enumeration of the linear regions."""
    center = X[point].numpy()
    cells = oracles.cells(NET, oracles.Domain(center, center - 0.5, center + 0.5))
    label, eye = int(Y[point]), np.eye(3)
    rows = np.array([eye[label] - eye[j] for j in range(3) if j != label])
    return oracles.regional(cells, rows, float("inf"), None)


class AtSecond(Estimator):
    """Does something at the second point, and gives a loose bound at every one."""

    certificate = Certificate.UPPER
    searches = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        for center in work.analysis.placed.region.center:
            if torch.equal(center, X[1]):
                self.act(work.budget)
        return [upper_interval(work.analysis, i, 1e3, "a loose theorem") for i in range(work.analysis.placed.batch)]

    def act(self, budget: Budget) -> Any:
        raise NotImplementedError


class Killed(AtSecond):
    """As by the system when memory runs out."""

    def act(self, budget: Budget) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class KilledInBlock(Killed):
    searches = False


class KilledOnce(AtSecond):
    """Killed the first time only: the file that the environment names is made then."""

    MARK = "LIPREG_TEST_MARK"

    def act(self, budget: Budget) -> None:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(os.environ[self.MARK], os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)


class KilledOnceInBlock(KilledOnce):
    searches = False


class Segfault(AtSecond):
    def act(self, budget: Budget) -> None:
        ctypes.string_at(0)


class Exits(AtSecond):
    def act(self, budget: Budget) -> None:
        sys.exit("enough")


class Exhausted(AtSecond):
    def act(self, budget: Budget) -> None:
        raise MemoryError("no more")


class Hangs(AtSecond):
    """Deaf to its limit and to a stop."""

    def act(self, budget: Budget) -> None:
        time.sleep(600)


class HangsInBlock(Hangs):
    searches = False


class HangsEverywhere(Estimator):
    certificate = Certificate.UPPER
    searches = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        time.sleep(600)
        return []


class Unreadable(AtSecond):
    """Its answer cannot be pickled."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        found = super().answer(work)
        if torch.equal(work.analysis.placed.region.center[0], X[1]):
            object.__setattr__(found[0], "detail", threading.Lock())
        return found

    def act(self, budget: Budget) -> None:
        pass


class Wrong(AtSecond):
    """Proves too little at the second point."""

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        second = torch.equal(work.analysis.placed.region.center[0], X[1])
        return [upper_interval(work.analysis, 0, 1e-3 if second else 1e3, "a wrong theorem")]


class Chatty(AtSecond):
    """Prints, and draws from every global generator."""

    def act(self, budget: Budget) -> None:
        print("x" * 100_000)
        random.random(), np.random.rand(), torch.rand(1)


class Waits(Estimator):
    """Takes all its time, or until it is stopped, and says which."""

    certificate = Certificate.UPPER
    searches = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        stopped = work.budget.stop.wait(work.budget.seconds_left)
        status = Status.INTERRUPTED if stopped else Status.TIME_LIMIT
        return [upper_interval(work.analysis, 0, 1e3, "a loose theorem", status)]


class Environment(Estimator):
    """Says in its detail what it runs in."""

    certificate = Certificate.LOWER
    searches = True

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        loaded = "pytorch_lightning" in sys.modules
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        detail = f"pid {os.getpid()}, {torch.get_num_threads()} threads, lightning {loaded}, cuda {visible!r}"
        return [lower_interval(work.analysis, 0, None, detail)]


Registers = Callable[..., str]
