"""What must not matter to an estimator, or must matter in one way: scope, region, units, batches, shapes, dtype."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import Bound, Settings, estimate, frozen_analysis
from lipreg.estimators.evaluate import Network
from lipreg.graph import capture
from lipreg.outputs import AllLogits, AllMargins, Margin
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall
from lipreg.results import Certificate
from lipreg.testing import networks
from lipreg.testing.failures import expect, expect_near
from lipreg.testing.judged import EstimatorUnderTest
from lipreg.testing.questions import REGIONS

ORDER = 1.0 + 1e-12
"""Between two bounds of which one must not be above the other: their rounding."""


def scopes(judged: EstimatorUnderTest) -> None:
    """A pointed bound is at most the regional one."""
    if not judged.bound or len(judged.method.scopes) < 2:
        return
    for net, p in itertools.product(judged.nets, judged.method.norms):
        for pointed in judged.questions.about(net, "pointed", p):
            # in pointed scope distances are between all inputs
            distance = {"measured": "plain", "both": "units"}.get(pointed.distance, pointed.distance)
            regional = replace(pointed, scope="regional", distance=distance)
            if judged.covers(pointed) and judged.covers(regional):
                for low, high in zip(judged.answer(pointed), judged.answer(regional), strict=True):
                    message = f"{judged.name}: {pointed}: {low.upper}, above the regional {high.upper}"
                    expect(low.upper <= high.upper * ORDER, message)


def proved_bound(
    name: str, net: Network, problem: LocalLipschitz, x: Tensor, methods: tuple[str, ...] | None
) -> Tensor:
    """A bound with exact norms from some pre-activation methods, ``(batch,)``.

    Args:
        name: of the estimator.
        net: the network.
        problem: the question.
        x: reference points ``(batch, *shape)``.
        methods: of pre-activation bounds, by name; None for all.
    """
    with torch.no_grad():
        return estimate(net, problem, x, bound=Bound(name, methods or "all", "exact"))


def nesting(judged: EstimatorUnderTest) -> None:
    """A larger region never gives a smaller bound."""
    if not judged.bound or not judged.method.differentiable:
        return
    for scope, p, methods in judged.each((("interval",), ("ball",), ("ball", "interval"))):
        for net, kind in (("deep", LinfBall), ("leaky", L1Ball), ("residual", L2Ball)):
            if net not in judged.nets:
                continue
            x = torch.full((1, 2), 0.2, dtype=torch.float64)
            module, before = capture(networks.network(net), x), torch.zeros(1, dtype=torch.float64)
            for radius in (0.02, 0.1, 0.3, 1.0, 4.0):
                problem = LocalLipschitz(kind(radius), Margin(0, 1), scope, p)  # type: ignore[arg-type]
                bound = proved_bound(judged.name, module, problem, x, methods)
                ends = f"{float(bound)} over {problem.region}, {float(before)} over a smaller one"
                message = f"{judged.name}: {net}, {scope}, p={p:g}, by {'+'.join(methods)}: {ends}"
                expect((bound >= before * (1 - 1e-12)).all(), message)
                before = bound


def _linear(net: nn.Module) -> list[nn.Linear]:
    return [module for module in net.modules() if isinstance(module, nn.Linear)]


def _logits(net: nn.Module, factor: float) -> None:
    last = _linear(net)[-1]
    last.weight.mul_(factor)
    last.bias.mul_(factor)


def _inputs(net: nn.Module, factor: float) -> None:
    _linear(net)[0].weight.mul_(factor)


def _moved(net: nn.Module, by: float) -> None:
    first = _linear(net)[0]
    first.bias.sub_(by * first.weight.sum(1))


def _layers(net: nn.Module, factor: float) -> None:
    first, second = _linear(net)[:2]
    first.weight.mul_(factor)
    first.bias.mul_(factor)
    second.weight.div_(factor)


UNITS: dict[str, tuple[Callable[[nn.Module, float], None], float, float, float]] = {
    "logits times 3": (_logits, 3.0, 1.0, 3.0),
    "logits times -1/4": (_logits, -0.25, 1.0, 0.25),
    "inputs in units of 4": (_inputs, 4.0, 0.25, 4.0),
    "logits times 65536": (_logits, 65536.0, 1.0, 65536.0),
    "logits divided by 65536": (_logits, 1.0 / 65536.0, 1.0, 1.0 / 65536.0),
    "inputs moved by 64": (_moved, 64.0, 1.0, 1.0),
    "a layer times 8 and the next one divided by it": (_layers, 8.0, 1.0, 1.0),
}
"""How a network changes, by which factor, how its points and radii change, and how its constant does."""


def units(judged: EstimatorUnderTest) -> None:
    """Scaled logits, scaled inputs and layers that are scaled against each other scale the result, and nothing else."""
    net, x = networks.network("shallow"), torch.tensor([[0.1, -0.2]], dtype=torch.float64)

    def result_of(net: nn.Module, size: float, scope: str, p: float, by: float = 0.0) -> tuple[float, float, float]:
        problem = LocalLipschitz(LinfBall(0.6 * size), Margin(0, 1), scope, p)  # type: ignore[arg-type]
        (result,) = judged.certify(net, problem, x * size + by)
        return result.lower, result.upper, result.estimate or 0.0

    plain = {(scope, p): result_of(net, 1.0, scope, p) for scope, p in judged.declared_scopes_and_norms}
    for scope, p, (label, (change, factor, size, wanted)) in judged.each(UNITS.items()):
        if not judged.bound and ("65536" in label or change is _moved):
            continue  # solvers have absolute tolerances of their own
        by = factor if change is _moved else 0.0
        with torch.no_grad():
            change(changed := copy.deepcopy(net), factor)
        message = f"{judged.name}: shallow, {scope}, p={p:g}, with {label}: lower, upper, estimate"
        expect_near(result_of(changed, size, scope, p, by), [wanted * end for end in plain[scope, p]], message, 1e-4)


def batch(judged: EstimatorUnderTest) -> None:
    """A batch is a loop over its points: a bound's numbers, and whatever a search draws at a point."""
    if judged.bound:
        _batch_of_bounds(judged)
        return
    if judged.method.certificate is Certificate.UPPER or "deep" not in judged.nets:
        return
    x = torch.tensor([[0.3, -0.2], [0.1, 0.5], [-0.4, 0.2]], dtype=torch.float64)
    net, options = networks.network("deep"), {"budget": Budget(nodes=1), "settings": Settings(seed=3)}
    for scope in judged.method.scopes:
        p = 2.0 if 2.0 in judged.method.norms else judged.method.norms[-1]
        problem = LocalLipschitz(LinfBall(0.8), AllLogits(), scope, p)  # type: ignore[arg-type]
        (alone,) = judged.certify(net, problem, x[:1], **options)  # a search says what it started from
        last = judged.certify(net, problem, x.flip(0), **options)[-1]
        message = f"{judged.name}: {problem.sentence()} of deep at {x[0].tolist()}, last of three points and alone"
        expect_near(last.lower, alone.lower, f"{message}: lower end")
        expect((last.estimate is None) == (alone.estimate is None), f"{message}: {last} and {alone}")
        if alone.estimate is not None:
            expect_near(last.estimate, alone.estimate, f"{message}: estimate", 1e-6)


def _batch_of_bounds(judged: EstimatorUnderTest) -> None:
    nets = (("deep", "linf_cut"), ("leaky", "l2"), ("residual", "l1_cut"), ("batch_norm", "l2_cut"))
    x = torch.rand(6, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64) - 0.3
    y = torch.tensor([0, 1, 1, 0, 1, 0])
    for scope, p, (net, region) in judged.each(nets):
        if net not in judged.nets:
            continue
        problem = LocalLipschitz(REGIONS[region](2), AllMargins(), scope, p)  # type: ignore[arg-type]
        try:
            judged.method.check(problem)
        except UnsupportedRequest:
            continue
        module = capture(networks.network(net), x)
        message = f"{judged.name}: {net} on {region}, {scope}, p={p:g}"
        whole = [result.upper for result in judged.certify(module, problem, x, y)]
        single = [judged.certify(module, problem, x[i : i + 1], y[i : i + 1])[0].upper for i in range(len(x))]
        expect_near(whole, single, f"{message}: six points at once and one by one", 1e-12)
        analysis = frozen_analysis(module, problem, x, y, Bound(judged.name).methods)
        parts = [judged.method.intervals(analysis[i : i + 1], judged.budget)[0].upper for i in range(len(x))]
        expect_near(parts, whole, f"{message}: slices of an analysis and the whole", 1e-12)
        if judged.method.differentiable:
            batched = estimate(module, problem, x, y, bound=Bound(judged.name, spectral_norms="exact"))
            expect_near(batched.tolist(), whole, f"{message}: estimate and certify", 2e-9)


def images(judged: EstimatorUnderTest) -> None:
    """Images and vectors of the same numbers have the same constant."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flat = networks.mlp(4, 4, 3, 2).double()
    shaped = nn.Sequential(nn.Flatten(), *flat)
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for scope, p, _ in judged.each((None,), len(judged.declared_scopes_and_norms)):
        question = L1Ball(0.5, low=0.0, high=1.0), Margin(0, 1), scope, p
        units = torch.tensor([0.5, 1.0, 2.0, 3.0])
        scales = (units, units.reshape(2, 1, 2)) if judged.method.weighted else (None, None)
        problem, of_pictures = (LocalLipschitz(*question, scale=scale) for scale in scales)  # type: ignore[arg-type]
        vectors, pictures = judged.certify(flat, problem, x), judged.certify(shaped, of_pictures, x.reshape(2, 2, 1, 2))
        for vector, picture in zip(vectors, pictures, strict=True):
            message = f"{judged.name}: {problem.sentence()}: lower and upper end of images, and of vectors"
            expect_near((picture.lower, picture.upper), (vector.lower, vector.upper), message)


def single_precision(judged: EstimatorUnderTest) -> None:
    """A float32 network's live graph gives, in float32, the float64 bound to rounding."""
    if not judged.bound or not judged.method.differentiable:
        return
    for scope, p in judged.declared_scopes_and_norms:
        problem = LocalLipschitz(LinfBall(0.8), AllMargins(1), scope, p)  # type: ignore[arg-type]
        net, x = networks.network("deep"), torch.tensor([[0.3, -0.2], [0.1, 0.5]], dtype=torch.float64)
        bound = estimate(
            copy.deepcopy(net).float(), problem, x.float(), bound=Bound(judged.name, spectral_norms="exact")
        )
        message = f"{judged.name}: {problem.sentence()} of deep in float32"
        expect(bound.dtype == torch.float32, f"{message}: {bound.dtype}")
        expect_near(bound.tolist(), [result.upper for result in judged.certify(net, problem, x)], message, 1e-4)
