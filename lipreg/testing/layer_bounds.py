"""Whether the bounds of a layer are true: the exact constant within one piece, and no bound below a slope."""

from __future__ import annotations

import math

import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, BoundEstimator, certify, frozen_analysis
from lipreg.graph import capture
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.testing.failures import expect
from lipreg.testing.layers import LayerUnderTest, autograd_jacobian

BENT = 1e-3
"""Relative change of the slope of curves over a region of radius 1e-6, at most."""
SEARCHED = 5.0
"""Seconds of the search for the exact constant of an example."""


def constants(layer: LayerUnderTest) -> None:
    """The exact constant within one linear piece is the Jacobian's norm; no bound is below a slope of the module."""
    module, x = nn.Sequential(layer.built(), nn.Flatten()).eval(), layer.inputs(1)
    captured = capture(module, x)
    problem = LocalLipschitz(LinfBall(1e-6), AllLogits())
    exact = float(autograd_jacobian(module, x).flatten(2).abs().sum(-1).max())
    # curves bend a little over any region: by its radius times their second derivatives
    bent = BENT if captured.frozen().curves() else 0.0
    budget, bent = Budget(SEARCHED, gap=bent), bent + 10 * layer.example.accuracy
    (interval,) = certify(captured, problem, x, estimator="branch_and_bound", budget=budget)
    near = interval.lower <= exact * (1 + bent) and interval.upper >= exact * (1 - bent)
    expect(near, f"{layer.name}: [{interval.lower}, {interval.upper}] within one piece, whose slope is {exact}")
    radius = 0.3
    problem = LocalLipschitz(LinfBall(radius), AllLogits())
    draw = torch.Generator().manual_seed(layer.seed)
    d = radius * (2 * torch.rand(512, *x.shape[1:], generator=draw, dtype=torch.float64) - 1).sign()
    d = d * torch.rand(512, *(1,) * (x.dim() - 1), generator=draw, dtype=torch.float64)
    with torch.no_grad():
        rise = (module(x + d) - module(x + 0.5 * d)).abs().amax(1)
    met = float((rise / (0.5 * d.flatten(1).abs().amax(1))).max())
    analysis = frozen_analysis(captured, problem, x, None)
    for name, method in ESTIMATORS.own().items():
        if isinstance(method, BoundEstimator) and method.uncovered(problem, analysis.graph) is None:
            (bound,) = method.intervals(analysis, Budget(SEARCHED))
            message = f"{layer.name}: {name} bounds by {bound.upper}, and two points have slope {met}"
            expect(bound.upper >= met * (1 - 1e-9) and math.isfinite(bound.upper), message)
