"""Programs of small networks, and their variables evaluated at points by the network itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.bounds import Analysis, linear_jacobian
from lipreg.estimators import frozen_analysis
from lipreg.milp import Encoding
from tests.conformance.questions import Question
from tests.oracles import Array


def local(question: Question, point: int = 0) -> Analysis:
    """The analysis of one reference point."""
    return frozen_analysis(question.module, question.problem, question.x, None)[point : point + 1]


def points(analysis: Analysis, count: int, seed: int = 0) -> Array:
    """Random points of the region, flattened."""
    return analysis.placed.region.sample(count, torch.Generator().manual_seed(seed))[0].flatten(1).numpy()


@dataclass(frozen=True)
class Traced:
    """What autograd says of one point: pre-activations and outputs of each activation, gradients of c . f there."""

    z: list[Array]
    h: list[Array]
    g: list[Array]
    gradient: Array


def trace(net: nn.Module, x: Array, c: Array) -> Traced:
    """Runs the network forwards and backwards at one point, with hooks at its activations in the order of the calls."""
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((args[0], output))

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)]
    point = torch.tensor(x, dtype=torch.float64).unsqueeze(0).requires_grad_(True)
    value = (net(point) * torch.as_tensor(c)).sum()
    for handle in handles:
        handle.remove()
    outputs = [h for _, h in seen]
    grads = torch.autograd.grad(value, [point, *outputs], allow_unused=True)
    filled = [torch.zeros_like(t) if g is None else g for t, g in zip([point, *outputs], grads, strict=True)]
    gradient, *flows = (g[0].flatten().numpy() for g in filled)
    z, h = ([t[0].detach().flatten().numpy() for t in part] for part in zip(*seen, strict=True)) if seen else ([], [])
    return Traced(list(z), list(h), flows, gradient)


def variables(analysis: Analysis, encoding: Encoding, traced: Traced, x: Array) -> Array:
    """The full vector of the program's variables at a point of the region."""
    program, units = encoding.program, encoding.units
    region = analysis.placed.region
    moves = region.movable[0].flatten().numpy()
    d = (x - region.center[0].flatten().numpy())[moves]
    v = np.full(len(program.cost), np.nan)

    def put(name: str, values: Array) -> None:
        if name in program.columns:
            v[program.columns[name]] = values

    put("d", d)
    order = {index: at for at, (index, _) in enumerate(analysis.graph.relus())}
    place = [(order[int(n)], int(i)) for n, i in zip(units.node, units.position, strict=True)]
    z, h, g = (np.array([part[at][i] for at, i in place]) for part in (traced.z, traced.h, traced.g))
    active = (z > 0).astype(float)
    put("h", h)
    put("a", active)
    put("w", active * g)
    gradient = traced.gradient[moves]
    if analysis.placed.problem.p == 1.0:
        both = np.concatenate([gradient, -gradient])
        chosen = (np.arange(len(both)) == both.argmax()).astype(float)
        put("select", chosen)
        put("y", chosen * both)
    elif "positive" in program.columns:
        open_sign = open_signs(analysis)
        put("positive", (gradient[open_sign] > 0).astype(float))
        put("size", np.abs(gradient[open_sign]))
    rest = np.isnan(v)
    if rest.any():  # the sizes of the displacement in an l1 ball
        v[rest] = np.abs(d)
    return v


def open_signs(analysis: Analysis) -> Array:
    """Which coordinates with room have a gradient of either sign by its bounds."""
    low, high = (end[0, 0].flatten().numpy() for end in linear_jacobian(analysis).bounds[0])
    moves = analysis.placed.region.movable[0].flatten().numpy()
    return ((low < 0) & (high > 0))[moves]
