"""Bounds as penalties: gradients that are those of the value, finite ones of dead networks, closed forms that agree."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedRequest
from lipreg.estimators import Bound, estimate
from lipreg.graph import capture
from lipreg.outputs import AllLogits, AllMargins, Margin
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball, LinfBall
from lipreg.testing import networks
from lipreg.testing.failures import expect, expect_near, refused
from lipreg.testing.judged import EstimatorUnderTest
from lipreg.testing.questions import DISTANCES, REGIONS
from lipreg.training import LipschitzPenalty


def bound_as_function_of_parameters(
    net: nn.Module, problem: LocalLipschitz, x: Tensor, bound: str | Bound
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """(function, parameters) for ``gradcheck``: the live graph reads whatever tensors stand in the module.

    Args:
        net: the module, whose parameters are replaced at each call.
        problem: the question.
        x: reference points ``(batch, *shape)``.
        bound: whose values the function returns, ``(batch,)``.
    """
    captured = capture(net, x)
    places = [(m, key) for m in net.modules() for key, value in m._parameters.items() if value is not None]
    parameters = tuple(m._parameters[key].detach().clone().requires_grad_() for m, key in places)  # type: ignore[union-attr]

    def function(*values: Tensor) -> Tensor:
        for (module, key), value in zip(places, values, strict=True):
            module._parameters[key] = value  # type: ignore[assignment]
        return estimate(captured, problem, x, bound=bound)

    return function, parameters


def gradients(judged: EstimatorUnderTest) -> None:
    """A differentiable bound has the gradient that finite differences have; a search is refused as a penalty."""
    x = torch.tensor([[0.13, -0.21], [-0.05, 0.4]], dtype=torch.float64)
    if not judged.bound or not judged.method.differentiable:
        with refused(UnsupportedRequest, f"{judged.name} as a penalty", "not differentiable"):
            estimate(networks.network("line"), LocalLipschitz(LinfBall(0.1), AllLogits()), x[:, :1], bound=judged.name)
        return
    nets = [net for net in ("deep", "leaky", "residual", "batch_norm", "pooled") if net in judged.nets]
    for scope, p, net in judged.each(nets):
        region = {1.0: REGIONS["l1_cut"], 2.0: REGIONS["l2"], math.inf: REGIONS["linf"]}[p](2)
        problem = LocalLipschitz(region, Margin(0, 1), scope, p)  # type: ignore[arg-type]
        function, parameters = bound_as_function_of_parameters(networks.network(net, 3), problem, x, judged.name)
        message = f"{judged.name}: {problem.sentence()} of {net}: the gradient is not that of finite differences"
        todo = "no gradient reaches the weights; a bound that is no penalty has differentiable = False in its class"
        expect(function(*parameters).requires_grad, f"{judged.name}: {problem.sentence()} of {net}: {todo}")
        try:
            close = torch.autograd.gradcheck(
                function, parameters, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True, raise_exception=True
            )
        except RuntimeError as error:
            expect(False, f"{message}: {' '.join(str(error).split())[:400]}")
        else:
            expect(close, message)


def dead_gradients(judged: EstimatorUnderTest) -> None:
    """Zero rows, dead units and constant layers: square roots and norms have no slope there, and must give 0, not NaN."""
    if not judged.bound or not judged.method.differentiable:
        return
    for net in ("dead_units", "affine"):
        for scope, p in judged.declared_scopes_and_norms:
            module = networks.network(net)
            with torch.no_grad():
                next(m for m in module.modules() if isinstance(m, nn.Linear)).weight[0] = 0.0
            problem = LocalLipschitz(L2Ball(0.5), Margin(0, 1), scope, p)  # type: ignore[arg-type]
            estimate(module, problem, torch.zeros(3, 2, dtype=torch.float64), bound=judged.name).sum().backward()
            finite = all(w.grad is None or torch.isfinite(w.grad).all() for w in module.parameters())
            expect(finite, f"{judged.name}: {problem.sentence()} of {net} with a zero row: a gradient is not finite")


def closed_form(judged: EstimatorUnderTest) -> None:
    """The penalty, by a closed form where there is one, has the value and the gradient of the bound on the graph."""
    if not judged.bound or not judged.method.differentiable:
        return
    x, y = torch.tensor([[0.13, -0.21], [-0.05, 0.4], [0.3, 0.2]], dtype=torch.float64), torch.tensor([0, 1, 1])
    recipe = Bound(judged.name, spectral_norms="exact")
    nets = [net for net in ("shallow", "deep", "dead_units", "convolution") if net in judged.nets]
    kinds = ((AllMargins(), "linf_cut", "plain"), (AllLogits(), "linf", "both"), (AllMargins(), "l2", "units"))
    for scope, p, (net, (kind, region, distance)) in judged.each(itertools.product(nets, kinds)):
        module = copy.deepcopy(networks.network(net))
        size = networks.input_size(module)
        points = x if size == 2 else torch.cat([x, x[:, : size - 2]], 1)
        measured = DISTANCES[distance if judged.method.weighted else "plain"](size, scope)
        problem = LocalLipschitz(REGIONS[region](size), kind, scope, p, **measured)  # type: ignore[arg-type]
        here = f"{judged.name}: {problem.sentence()} of {net}"
        try:
            judged.method.check(problem)
        except UnsupportedRequest:
            continue
        penalty = LipschitzPenalty(module, problem, bound=recipe, weight=1.0, penalty="mean")
        weights = list(module.parameters())
        ours = torch.autograd.grad(penalty(points, y), weights, allow_unused=True)
        bounds = estimate(module, problem, points, y, bound=recipe)
        assert penalty.last is not None
        values = penalty.last.bounds.tolist()
        expect_near(values, bounds.tolist(), f"{here}: the penalty's bounds and those of the graph", 1e-7)
        theirs = torch.autograd.grad(bounds.mean(), weights, allow_unused=True)
        for mine, other in zip(ours, theirs, strict=True):
            apart = torch.tensor(0.0) if mine is other else (_or_zero(mine) - _or_zero(other)).abs().max()
            message = f"{here}: the penalty's gradient is off that of the graph's bound by {float(apart):g}"
            expect(apart <= 1e-6 * (1.0 + _or_zero(other).abs().max()), message)


def _or_zero(gradient: Tensor | None) -> Tensor:
    return torch.zeros(1, dtype=torch.float64) if gradient is None else gradient
