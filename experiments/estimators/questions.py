"""What is asked: every network, scope, norm and radius; and which estimators answer, or say that they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from experiments.estimators.networks import Subject
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, Estimator, get_estimator
from lipreg.graph import Graph, capture
from lipreg.problem import LocalLipschitz

ALL = "all"


@dataclass(frozen=True)
class Question:
    """One question about one network, at all of its reference points.

    Attributes:
        subject: the network and its points.
        problem: region, norms, functional and scope.
        able: the estimators that answer, searches first, because they take longest.
        refused: why the others do not, by name.
    """

    subject: Subject
    problem: LocalLipschitz
    able: tuple[str, ...]
    refused: dict[str, str]


def questions(cfg: DictConfig, found: Sequence[Subject]) -> list[Question]:
    """Every question of the configuration, each estimator asked whether it covers it; nothing is computed yet.

    Raises:
        UnsupportedRequest: an estimator that was named covers none of the questions, or no such question exists.
        InvalidInput: unknown names, or points, labels or values that do not fit the question.
    """
    estimators = chosen(cfg.estimators)
    for name in ("scopes", "norms", "radii"):
        if not OmegaConf.is_list(cfg[name]):
            raise InvalidInput(f"{cfg[name]!r}", where=name, accepted=f"a list: {name}=[{cfg[name]}]")
    problems = [
        instantiate_problem(cfg, radius, p, scope) for scope, p, radius in product(cfg.scopes, cfg.norms, cfg.radii)
    ]
    if not problems:
        raise InvalidInput("no questions", where="estimators", accepted="at least one of radii, norms and scopes")
    if cfg.estimators != ALL:
        for estimator in estimators:
            if all(estimator.uncovered(problem) is not None for problem in problems):
                estimator.check(problems[0])  # raises, and says what it covers
    asked = []
    known = [(subject, capture(subject.network, subject.x).frozen()) for subject in found]
    for (subject, graph), problem in product(known, problems):
        with torch.no_grad():
            problem.place(subject.x, subject.network(subject.x), subject.y)  # finds what does not fit
        refusals = {e.name: refusal(e, problem, graph) for e in estimators}
        able = sorted((e for e in estimators if not refusals[e.name]), key=lambda e: not e.searches)
        refused = {name: text for name, text in refusals.items() if text}
        asked.append(Question(subject, problem, tuple(e.name for e in able), refused))
    return asked


def chosen(names: str | Sequence[str]) -> list[Estimator]:
    """The estimators of these names, or all that are known, yardsticks too."""
    if isinstance(names, str) and names != ALL:
        raise InvalidInput(f"{names!r}", where="estimators", accepted=f"{ALL!r}, or a list of names")
    return [get_estimator(name) for name in (ESTIMATORS.all_names() if names == ALL else dict.fromkeys(names))]


def instantiate_problem(cfg: DictConfig, radius: float, p: str | float, scope: str) -> LocalLipschitz:
    """The region of the configuration at one radius, with one norm of input distances and one scope."""
    return LocalLipschitz(instantiate(cfg.region, radius=radius), instantiate(cfg.output), scope, p=p)  # type: ignore[arg-type]


def refusal(estimator: Estimator, problem: LocalLipschitz, graph: Graph | None = None) -> str:
    """Why an estimator does not answer a question, about a network if one is given, and what it would; empty if it does."""
    uncovered = estimator.uncovered(problem, graph)
    return "" if uncovered is None else f"{uncovered[0]} is not covered; it covers {uncovered[1]}"
