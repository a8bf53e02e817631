"""Learning rate, epochs and strengths of a penalty, by one rule and on selection data alone (docs/study_design.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from experiments.exact_study.designs import EARLY, TWIN
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.rows import Job, Row, mean_accuracy

LOST = 0.01
"""Of accuracy, that may be lost."""
NEAR = 0.0025
"""Of accuracy: what lies as close to the best is as good."""
STARTS = {"pgd": 0.01, "small_box": 0.01}
START = 1e-4
"""Where strengths start to go up; all of these are far too weak."""
LOWEST = 1e-12
TUNED_AS = {EARLY: TWIN, "witnesses": "jacobian"}
"""Whose learning rate and epochs these have."""
Need = Callable[[Job], Row]
"""The row of a job: what is there, or done now."""


@dataclass(frozen=True)
class Choice:
    """What a penalty is trained with.

    Attributes:
        rate, epochs: of every run.
        limit: the last strength of its ladder that was accurate.
    """

    rate: float
    epochs: int
    limit: float

    def strengths(self, ladder: Sequence[float]) -> tuple[float, ...]:
        """Of the study's runs, by the steps of a ladder over the limit."""
        return tuple(short(self.limit * step) for step in ladder)


class Choosing:
    """The rule, for one question.

    Args:
        question: its name.
        need: gives rows.
    """

    def __init__(self, question: str, need: Need) -> None:
        self.question, self.need = question, need
        self.rule = QUESTIONS[question].design.rule

    def twin(self) -> Choice:
        """Learning rate and epochs of the twins."""
        if self.rule.limits is not None:
            return Choice(self.rule.rates[0], self.rule.epochs[0], 0.0)
        return self._tuned(TWIN, 0.0)

    def of(self, penalty: str) -> Choice:
        """All that a penalty is trained with."""
        twin = self.twin()
        if self.rule.limits is not None:
            return replace(twin, limit=Choosing(self.rule.limits, self.need).of(penalty).limit)
        if penalty == "witnesses":
            return self.of(TUNED_AS[penalty])
        if penalty == EARLY:
            return Choice(twin.rate, twin.epochs, self._settled(penalty, 1.0, twin.rate, twin.epochs, twin))
        found = self._tuned(penalty, self._scanned(penalty))
        return Choice(found.rate, found.epochs, self._settled(penalty, found.limit, found.rate, found.epochs, twin))

    def _scanned(self, penalty: str) -> float:
        least = self._accuracy(TWIN, 0.0, *self.rule.scanned) - LOST
        start = STARTS.get(penalty, START)
        return self._last(start, math.sqrt(10), lambda s: self._accuracy(penalty, s, *self.rule.scanned) >= least)

    def _tuned(self, penalty: str, strength: float) -> Choice:
        tried = {(r, e): self._accuracy(penalty, strength, r, e) for e in self.rule.epochs for r in self.rule.rates}
        near = [setting for setting, accuracy in tried.items() if accuracy >= max(tried.values()) - NEAR - 1e-9]
        rate, epochs = min(near, key=lambda setting: (setting[1], -tried[setting]))
        return Choice(rate, epochs, strength)

    def _settled(self, penalty: str, start: float, rate: float, epochs: int, twin: Choice) -> float:
        least = self._accuracy(TWIN, 0.0, twin.rate, twin.epochs) - LOST
        return self._last(start, math.sqrt(3), lambda s: self._accuracy(penalty, s, rate, epochs) >= least)

    @staticmethod
    def _last(start: float, factor: float, accurate: Callable[[float], bool]) -> float:
        """The last accurate strength of a ladder, going up from an accurate start, or down until one is."""
        rungs = (short(start * factor**k) for k in count())
        last = next(rungs)
        if not accurate(last):
            return next(s for k in count(1) if (s := short(start / factor**k)) < LOWEST or accurate(s))
        for rung in rungs:
            if not accurate(rung):
                return last
            last = rung
        raise AssertionError  # the ladder has no end

    def _accuracy(self, penalty: str, strength: float, rate: float, epochs: int) -> float:
        jobs = [Job(self.question, "choice", penalty, strength, seed, rate, epochs) for seed in self.rule.seeds]
        return mean_accuracy([self.need(job) for job in jobs]) + 1e-9  # shares are rounded


def short(strength: float) -> float:
    """A strength of two digits, so that rows are found by it."""
    return float(f"{strength:.2g}")


def runs(question: str, choices: dict[str, Choice], twin: Choice, seeds: Sequence[int]) -> list[Job]:
    """The study's runs, seed by seed, so that what was cut short has whole seeds; twins first."""
    jobs: list[Job] = []
    ladder, other = QUESTIONS[question].design.ladder, QUESTIONS[question].other_twins
    lengths = [twin.epochs, *([other] if other not in (None, twin.epochs) else [])]
    for seed in seeds:
        jobs += [Job(question, "run", TWIN, 0.0, seed, twin.rate, epochs) for epochs in lengths]
        for name, choice in choices.items():
            jobs += [Job(question, "run", name, s, seed, choice.rate, choice.epochs) for s in choice.strengths(ladder)]
    return jobs
