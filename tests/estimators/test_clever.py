"""CLEVER: its fit on samples of known laws, and what it says of networks whose constant is known."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
import torch
from scipy.stats import weibull_max
from torch import nn

from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.estimators.settings import Settings
from lipreg.estimators.yardsticks import clever
from lipreg.estimators.yardsticks.clever import fit_maxima, level
from lipreg.outputs import AllLogits, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.conformance.questions import SCOPES, Question


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shape", [1.5, 3.0, 8.0])
def test_the_end_of_a_reverse_weibull_law_is_found(shape: float, size: float) -> None:
    """Seven standard errors of the location of such a law; the largest sample is off by more for large shapes."""
    drawn = size * weibull_max.rvs(shape, loc=10.0, scale=2.0, size=400, random_state=np.random.default_rng(0))
    fit = fit_maxima(drawn)
    assert fit is not None and fit.p_value > 0.05 and "do not follow" not in str(fit)
    assert fit.location >= drawn.max() * (1 - 1e-12)
    assert abs(fit.location / size - 10.0) < {1.5: 0.05, 3.0: 0.3, 8.0: 1.0}[shape]
    assert fit.shape == pytest.approx(shape, rel=0.5)


def test_the_statistic_is_the_largest_distance_between_the_two_distributions() -> None:
    drawn = np.random.default_rng(1).normal(size=60)
    fit = fit_maxima(drawn)
    assert fit is not None
    ordered = np.sort(drawn)
    law = np.exp(-(((fit.location - ordered) / fit.scale) ** fit.shape))
    steps = np.arange(61) / 60
    assert fit.statistic == pytest.approx(max((steps[1:] - law).max(), (law - steps[:-1]).max()), rel=1e-6)


def test_maxima_that_do_not_follow_the_law_are_told() -> None:
    """Two values, as the slopes of a network with two pieces have, and maxima without an end: refuted, or not fitted."""
    rng = np.random.default_rng(0)
    for maxima in (np.array([1.0] * 30 + [2.0] * 20), np.exp(3.0 * rng.normal(size=200)), rng.gumbel(size=1000)):
        fit = fit_maxima(maxima)
        assert fit is None or (fit.p_value < 0.05 and "do not follow the law" in str(fit)), str(fit)
    assert level(np.full(50, 3.0)) and level(np.arange(5.0)) and not level(np.arange(50.0))


def asked(question: Question, seed: int = 0) -> list[CertifiedInterval]:
    return certify(question.module, question.problem, question.x, estimator="clever", settings=Settings(seed=seed))


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("scope", SCOPES)
def test_it_is_near_the_constant_of_small_networks_and_claims_nothing(scope: str, p: float) -> None:
    for net, kind in (("shallow", "all_logits"), ("deep", "margin")):
        question = Question(net, "linf", scope, p, kind)
        for i, result in enumerate(asked(question)):
            low, high = question.truth(i)
            assert result.certificate is Certificate.ESTIMATE and result.estimate is not None
            assert 0.9 * low <= result.estimate <= 1.2 * high, f"{question}: {result.detail}"
            assert (result.lower, result.upper, result.witness) == (0.0, math.inf, None)
            assert "Kolmogorov-Smirnov statistic" in result.detail or "no fit" in result.detail
            assert result.status in (Status.ESTIMATED, Status.FAILED)


def test_an_affine_network_needs_no_fit() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2)).double()
    problem = LocalLipschitz(LinfBall(0.1), Vector(), p=2)
    (result,) = certify(net, problem, torch.zeros(1, 3, dtype=torch.float64), estimator="clever")
    assert result.estimate == pytest.approx(torch.linalg.matrix_norm(net[0].weight.detach(), ord=2).item(), rel=1e-12)
    assert result.status is Status.ESTIMATED and "all maxima agree" in result.detail


def test_a_dead_network_is_flat() -> None:
    net = oracles.mlp(2, 3, 2).double()
    with torch.no_grad():
        net[0].bias.fill_(-50.0)
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    (result,) = certify(net, problem, torch.zeros(1, 2, dtype=torch.float64), estimator="clever")
    assert result.estimate == 0.0 and result.status is Status.ESTIMATED


def test_the_seed_decides_the_points() -> None:
    torch.manual_seed(0)
    net, x = oracles.mlp(8, 16, 16, 3).double(), torch.rand(1, 8, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.5), AllLogits())
    first, again, other = (
        certify(net, problem, x, estimator="clever", settings=Settings(seed=seed))[0].estimate for seed in (1, 1, 2)
    )
    assert first == again != other


def test_stopped_from_outside_it_has_the_largest_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clever, "BATCH_NUMBERS", 1)
    stop = threading.Event()
    stop.set()
    question = Question("deep", "linf", "regional", math.inf, "margin")
    results = certify(question.module, question.problem, question.x, estimator="clever", budget=Budget(stop=stop))
    for i, result in enumerate(results):
        assert result.status is Status.INTERRUPTED and "stopped" in result.detail
        assert result.estimate is not None and 0 < result.estimate <= question.truth(i)[1] * (1 + 1e-9)
