"""Whether the derivatives of a layer's graph are derivatives where they jump: at kinks, and at equal members of a pool.

At such a point any element of Clarke's Jacobian is right, the convex hull of the Jacobians beside it, and so is what
autograd says of the module itself. A graph with the layer's values may have neither: relu(z) - s relu(-z) is a leaky ReLU,
and has slope 0 at 0. Witnesses at kinks, and trainings whose units start there, would be of another function. Where kinks
of several layers meet, each may take its own side, as autograd's do: an example keeps them apart.

Random points never meet a kink. So the weights are rounded to a few bits and the points lie on a grid, where sums round
nothing and units are 0, or equal, to the last bit.
"""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import scipy.optimize
import torch
from torch import Tensor, nn

from lipreg.graph import Curved, Graph, MaxPool, Relu, capture
from lipreg.testing.failures import expect
from lipreg.testing.layers import LayerUnderTest, live_graph

CANDIDATES = 2000
"""Points of the grid that are looked at for ties."""
POINTS = 3
"""Points with ties whose derivatives are compared, those with the fewest ties first."""
BESIDE = 24
"""Points beside it."""
STEP = 2.0**-20
"""How far these are away: differences of slopes over this distance are those of curves."""
CLOSE = 1e-4
"""How far a derivative may be from the hull, relative to the largest of those beside it."""


def ties(layer: LayerUnderTest) -> None:
    """At kinks and at equal members of pools, gradients are autograd's or lie between those of the points around."""
    module = _rounded(layer.built().eval())
    captured, other = capture(module, layer.inputs(1)), copy.deepcopy(module)
    frozen = captured.frozen()
    parameters = _trained(module)
    for x in _tied(frozen, layer):
        weights = torch.randn(frozen.output.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        wanted = _gradient(module, x, weights, parameters)
        beside = torch.stack([_beside(module, other, x, weights, seed) for seed in range(BESIDE)])
        live = _gradient(live_graph(captured), x, weights, parameters)
        slopes = {i: s.unsqueeze(1) for i, s in frozen.patterns(frozen.values(x)).items()}
        at_point = frozen.gradients(slopes, weights[None, None]).flatten()
        for got, whose in ((live, "the live graph's gradient"), (at_point, "the frozen graph's slope")):
            own, around = wanted[: len(got)], beside[:, : len(got)]
            off = _distance(got, own, around)
            worst = int((got - own).abs().argmax())
            ends = f"{float(around[:, worst].min()):.6g} to {float(around[:, worst].max()):.6g}"
            expect(
                off <= CLOSE,
                f"{layer.name}: {whose} at x={x[0].tolist()}, a kink or a tie of a pool, is none of the function there nor "
                f"between those around, by {off:.2g} of their size: entry {worst} is {float(got[worst]):.6g}, of the module "
                f"{float(own[worst]):.6g}, and {ends} around; an example keeps kinks of several layers apart",
            )


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _rounded(module: nn.Module) -> nn.Module:
    """The module with every weight rounded to two bits behind that of the largest one of its tensor."""
    with torch.no_grad():
        for p in module.parameters():
            if p.is_floating_point() and p.numel():
                step = 2.0 ** (math.floor(math.log2(max(float(p.abs().max()), 1e-9))) - 2)
                p.copy_((p / step).round() * step)
    return module


def _tied(graph: Graph, layer: LayerUnderTest) -> list[Tensor]:
    """Points of a grid, each ``(1, *shape)``, at which a few units are 0 or pools have several largest members."""
    generator = torch.Generator().manual_seed(layer.seed + 2)
    size = (CANDIDATES, *layer.example.input_shape)
    x = torch.randint(-8, 9, size, generator=generator).double() / 4.0
    x[: CANDIDATES // 2] = x[: CANDIDATES // 2].round()
    x[0] = 0.0
    counts = torch.zeros(CANDIDATES)
    with torch.no_grad():
        values = graph.values(x)
    for node in graph.nodes:
        if isinstance(node, Relu):
            counts += (values[node.source] == 0.0).flatten(1).sum(1)
        elif isinstance(node, MaxPool):
            members = node.members(values[node.source])
            counts += ((members == members.amax(-1, keepdim=True)).sum(-1) - 1).flatten(1).sum(1)
        elif isinstance(node, Curved):
            for jump in {a.location for a, b in itertools.pairwise(node.curve.inflections) if a.location == b.location}:
                counts += (values[node.source] == jump).flatten(1).sum(1)
    order = counts.argsort(stable=True)
    return [x[i : i + 1] for i in order[(counts[order] > 0)][:POINTS]]


def _gradient(of: nn.Module | Graph, x: Tensor, weights: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """The gradient of weights . f(x) in x and in the parameters, in one row."""
    x = x.clone().requires_grad_()
    parts = torch.autograd.grad((of(x)[0] * weights).sum(), [x, *parameters], allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def _beside(module: nn.Module, other: nn.Module, x: Tensor, weights: Tensor, seed: int) -> Tensor:
    """The module's gradient a little beside x and its parameters, in a random direction; ``other`` takes these."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p, own in zip(_trained(other), _trained(module), strict=True):
            p.copy_(own + STEP * torch.randn(own.shape, generator=draw, dtype=own.dtype))
    return _gradient(other, x + STEP * torch.randn(x.shape, generator=draw, dtype=x.dtype), weights, _trained(other))


def _distance(got: Tensor, wanted: Tensor, beside: Tensor) -> float:
    """How far a gradient is from another one, or from the convex hull of some, relative to the largest of these."""
    scale = float(beside.abs().max()) + 1e-9
    if float((got - wanted).abs().max()) <= CLOSE * scale:
        return 0.0
    sure = 1e3  # what the sum of the weights counts more than the distance: it is 1
    rows = np.vstack([beside.T.numpy() / scale, np.full(len(beside), sure)])
    weights, _ = scipy.optimize.nnls(rows, np.append(got.numpy() / scale, sure))
    return float(np.abs(rows[:-1] @ weights - got.numpy() / scale).max())
