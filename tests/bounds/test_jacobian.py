"""Entrywise Jacobian bounds against the Jacobians of all linear pieces, and against secant products."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lipreg.bounds import absolute_chain, analyse, interval_jacobian
from lipreg.graph import capture
from tests import oracles
from tests.conformance.questions import REGIONS, Question, domain, sampled

each_net = pytest.mark.parametrize("net", oracles.ZOO)


def in_turn(net: str) -> list[str]:
    """Every third region, each with some of the networks."""
    turn = list(oracles.ZOO).index(net)
    return [region for place, region in enumerate(REGIONS) if sampled(3, turn, place)]


@each_net
def test_regional_interval_holds_the_jacobian_of_every_piece(net: str) -> None:
    for region in in_turn(net):
        question = Question(net, region, "regional", math.inf, "all_logits")
        graph = capture(question.module, question.x).frozen()
        analysis = analyse(graph, question.problem.place(question.x, graph(question.x)))
        low, high = interval_jacobian(analysis)[0]
        chain = absolute_chain(analysis)
        assert (low <= high + 1e-12).all()
        assert (torch.maximum(low.abs(), high.abs()) <= chain + 1e-12).all()
        for i, x0 in enumerate(question.x.numpy()):
            where = domain(region, x0)
            for cell in oracles.cells(question.module, where):
                assert (low[i].numpy()[:, where.free] - 1e-9 <= cell.matrix).all(), region
                assert (cell.matrix <= high[i].numpy()[:, where.free] + 1e-9).all(), region
                assert (np.abs(cell.matrix) <= chain[i].numpy()[:, where.free] + 1e-9).all(), region


@each_net
def test_pointed_interval_holds_every_product_of_secants(net: str) -> None:
    """f(x) - f(x0) = G (x - x0) for the product G of secant slopes, which the interval must hold entry by entry."""
    for region in in_turn(net):
        question = Question(net, region, "pointed", math.inf, "all_logits")
        graph = capture(question.module, question.x).frozen()
        analysis = analyse(graph, question.problem.place(question.x, graph(question.x)))
        low, high = interval_jacobian(analysis)[0]
        rng = np.random.default_rng(2)
        for i, x0 in enumerate(question.x.numpy()):
            where = domain(region, x0)
            for d in where.sample(40, rng)[:8]:
                x = where.points(d[None])
                slopes = _secants(question.module, x0, x[0])
                matrix, _ = oracles.affine_forms(question.module, where, slopes)[-1]
                rise = oracles.evaluate(question.module, x)[0] - oracles.evaluate(question.module, x0[None])[0]
                np.testing.assert_allclose(matrix @ d, rise, atol=1e-9)
                assert (low[i].numpy()[:, where.free] - 1e-8 <= matrix).all(), region
                assert (matrix <= high[i].numpy()[:, where.free] + 1e-8).all(), region


def _secants(net: torch.nn.Module, x0: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """The secant slope of every unit between x0 and x; a unit that does not move gets 0, and multiplies a zero change."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    kinds = (torch.nn.ReLU, torch.nn.LeakyReLU)
    handles = [
        m.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
        for m in net.modules()
        if isinstance(m, kinds)
    ]
    oracles.evaluate(net, np.stack([x0, x]))
    for handle in handles:
        handle.remove()
    slopes = []
    for z, h in seen:
        run, rise = (z[1] - z[0]).numpy(), (h[1] - h[0]).numpy()
        slopes.append(np.where(np.abs(run) > 1e-12, rise / np.where(run == 0, 1.0, run), 0.0))
    return slopes


@each_net
def test_intervals_of_inner_gradients_hold_autograd(net: str) -> None:
    """The gradient with respect to each Relu's output, at random points of the region."""
    question = Question(net, "linf", "regional", math.inf, "all_logits")
    graph = capture(question.module, question.x).frozen()
    analysis = analyse(graph, question.problem.place(question.x, graph(question.x)))
    bounds = interval_jacobian(analysis)
    assert set(bounds) == {0, *(i for i, _ in graph.relus())}
    x = analysis.placed.region.sample(20, torch.Generator().manual_seed(0))
    rows = analysis.placed.rows
    for n in range(x.shape[1]):
        values = graph.values(x[:, n])
        for index in bounds:
            # rebuild the tail of the network from this node on, so that autograd sees its output as a leaf
            leaf = values[index].detach().requires_grad_()
            tail = {index: leaf}
            for later in range(index + 1, len(graph.nodes)):
                node = graph.nodes[later]
                known = {j: tail.get(j, values[j].detach()) for j in range(later)}
                if hasattr(node, "maps"):
                    tail[later] = sum((map(known[j]) for j, map in node.terms()), start=node.bias)
                else:
                    tail[later] = node(known[node.source])
            output = tail[len(graph.nodes) - 1]
            low, high = bounds[index]
            for k in range(rows.shape[1]):
                (gradient,) = torch.autograd.grad((output * rows[:, k]).sum(), leaf, retain_graph=True)
                assert (low[:, k] - 1e-9 <= gradient).all() and (gradient <= high[:, k] + 1e-9).all()
