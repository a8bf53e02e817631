"""CLEVER: the constant as the end point of an extreme value law, fitted to sampled slopes. An estimate, not a bound."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from torch import Tensor

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators.base import Estimator, EstimatorTask, register
from lipreg.estimators.witnesses.witness import attained
from lipreg.graph import Affine, MaxPool, Relu, node_size
from lipreg.results import Certificate, CertifiedInterval, Status

BATCHES = 50
"""Batches, of each of which the largest slope is one maximum."""
SAMPLES = 256
"""Points of a batch, whose largest slope counts."""
FEWEST = 10
"""Maxima below which nothing is fitted."""
LEVEL = 1e-9
"""Maxima that differ by less, relatively, are all the same."""
STARTS = (1.0, 5.0, 25.0)
"""Shapes from which the likelihood is maximised."""
LARGEST_SHAPE = 100.0
"""Beyond it a reverse Weibull law is all but a Gumbel law, which has no end point: the fit has diverged."""
REFUTED = 0.05
"""p-value below which the detail says that the maxima do not follow the law."""
BATCH_NUMBERS = 2**24
"""Numbers that the points evaluated at once may take."""


@dataclass(frozen=True)
class Fit:
    """A reverse Weibull law, P(maximum <= t) = exp(-((location - t) / scale)^shape) for t below its end, the location.

    Attributes:
        location, scale, shape: the parameters of the law.
        statistic, p_value: those of the Kolmogorov-Smirnov test of the maxima against the law. The test takes the law as
            fixed though it was fitted to the same maxima, so the p-value is on the high side: a small one refutes the fit,
            a large one does not prove it.
    """

    location: float
    scale: float
    shape: float
    statistic: float
    p_value: float

    def __str__(self) -> str:
        test = f"Kolmogorov-Smirnov statistic {self.statistic:.3f}, p-value {self.p_value:.2g}"
        verdict = ": the maxima do not follow the law" if self.p_value < REFUTED else ""
        return f"reverse Weibull fit of shape {self.shape:.3g}, scale {self.scale:.3g}; {test}{verdict}"


@register("clever")
class Clever(Estimator):
    """The location of a reverse Weibull law fitted to the largest slopes of ``BATCHES`` batches of ``SAMPLES`` points.

    Slopes of random points of X are bounded by the constant, so maxima over large batches follow a law with that end point,
    if they are many enough and the slopes have a density near it. Neither is known, and the slopes of a ReLU network take
    finitely many values: the estimate may lie on either side of the constant. The goodness of the fit is in the detail.

    Regional: Jacobian norms, as published, for all functionals together. Pointed: quotients against the reference point,
    by the same reasoning. Where all maxima agree there is nothing to fit, and the fit may diverge: then the largest maximum
    is the estimate, and the detail says so.

    Source: Weng et al. 2018 (CLEVER), section 4; Goodfellow 2018 on what it misses.
    """

    certificate = Certificate.ESTIMATE
    weighted = True
    kinds = (Affine, Relu, MaxPool)
    branches = True
    source = "Weng et al. 2018 (CLEVER)"

    def answer(self, work: EstimatorTask) -> list[CertifiedInterval]:
        analysis = work.analysis
        maxima, cut = _batch_maxima(analysis, work.settings.seed, work.budget)
        results = []
        for i, of_point in enumerate(maxima.numpy()):
            finite = of_point[np.isfinite(of_point)]
            largest = float(finite.max(initial=0.0))
            fit = None if cut or level(finite) else fit_maxima(finite)
            if fit is not None:
                status, how = Status.ESTIMATED, str(fit)
            elif cut:
                status, how = cut, "no fit: stopped before all batches were sampled"
            elif level(finite):
                status, how = Status.ESTIMATED, "no fit: all maxima agree, or too few points prove anything"
            else:
                status, how = Status.FAILED, "no fit: it diverged, as if the slopes had no end"
            results.append(
                CertifiedInterval(
                    analysis.placed.problem,
                    analysis.placed.functional_names[i],
                    status=status,
                    estimate=largest if fit is None else fit.location,
                    detail=f"largest of {len(finite)} x {SAMPLES} points {largest:.9g}; {how}",
                    subject=analysis.subject(i),
                )
            )
        return results


def _batch_maxima(analysis: Analysis, seed: int, budget: Budget) -> tuple[Tensor, Status | None]:
    """The largest slope of every batch of points, ``(points, batches)``, -inf where none proves anything.

    Args:
        analysis: the analysis of the points.
        seed: the seed of the draws.
        budget: started; where it ends early there are fewer batches, but at least one.

    Returns:
        The maxima, and what ended it early; None where nothing did.
    """
    region, rows = analysis.placed.region, analysis.placed.rows.shape[1]
    generators = region.generators(seed)
    largest = max(map(node_size, analysis.graph.nodes))
    at_once = max(1, BATCH_NUMBERS // (SAMPLES * region.batch * rows * largest))
    maxima: list[Tensor] = []
    done = 0
    over: Status | None = None
    while done < BATCHES:
        over = budget.stop_reason()
        if over is not None and maxima:
            break
        batches = min(at_once, BATCHES - done) if over is None else 1
        with torch.no_grad():
            # batch after batch: what is drawn must not depend on how many fit into memory
            points = torch.cat([region.sample(SAMPLES, generators) for _ in range(batches)], 1)
            slopes = attained(analysis, points)
        maxima.append(slopes.unflatten(1, (batches, SAMPLES)).amax(-1))
        done += batches
    return torch.cat(maxima, 1), over


def level(maxima: np.ndarray) -> bool:
    """Whether the maxima are too few, or too much alike, to fit a law to."""
    return len(maxima) < FEWEST or float(np.ptp(maxima)) <= LEVEL * float(maxima.max())


def fit_maxima(maxima: np.ndarray) -> Fit | None:
    """The reverse Weibull law of most likelihood from several starts, by the statistic of its test; None without one.

    The maxima are measured from the largest, in units of their deviation, so the ascent does not depend on their size.
    """
    top, unit = float(maxima.max()), float(maxima.std())
    scaled = (maxima - top) / unit
    best: Fit | None = None
    for start in STARTS:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # of steps that leave the law's domain
            try:
                shape, location, scale = map(float, scipy.stats.weibull_max.fit(scaled, start, loc=1.0, scale=1.0))
            except (ValueError, RuntimeError, FloatingPointError):  # scipy's FitError is a RuntimeError
                continue
            if not (math.isfinite(location) and location >= 0 and scale > 0 and 0 < shape <= LARGEST_SHAPE):
                continue
            test = scipy.stats.kstest(scaled, scipy.stats.weibull_max(shape, location, scale).cdf)
        fit = Fit(top + unit * location, unit * scale, shape, float(test.statistic), float(test.pvalue))
        if math.isfinite(fit.statistic) and (best is None or fit.statistic < best.statistic):
            best = fit
    return best
