"""Gradients of output functionals at the points, and numbers made of them, at the price of the gradients that count.

All rows of a Jacobian are computed without gradient; of what is then chosen of them, u^T J v, the gradient is taken alone.
For chains of layers it is written down: W_k has the gradient b_k t_k^T, b_k what the pass back has carried u to at the
layer's outputs, t_k what the pass on carries v to at its inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.estimators.closed_form import PrecomputedGradient
from lipreg.graph import ReluChain
from lipreg.graph.layers import flat
from lipreg.quantities.query import Query

Choose = Callable[[Tensor], tuple[Tensor, Tensor | None, Tensor]]
"""J ``(points, rows, inputs)``, without gradient -> values ``(points,)``; u ``(points, pairs, rows)``, None for each row by
itself; v ``(points, pairs, inputs)``: the gradient of a value is that of the sum over pairs of u^T J v."""


def through_rows(query: Query, rows: Tensor, choose: Choose) -> Tensor:
    """Values that are made of the gradients of rows at the points, ``(points,)``, differentiable in the parameters.

    Args:
        query: network and points.
        rows: functionals of the output, ``(points, rows, outputs)``, without gradient.
        choose: what is made of them.
    """
    chain = query.chain
    if chain is not None:
        with torch.no_grad():
            values_and_pull = _by_hand(chain, query.points, rows.to(chain.dtype), choose)
        return PrecomputedGradient.apply(values_and_pull, *chain.weights)  # type: ignore[return-value]
    graph, slopes, rows = query.graph, query.slopes(query.points), rows.to(query.dtype)
    with torch.no_grad():
        values, u, v = choose(graph.gradients(slopes, rows).flatten(2))
    gradients = graph.gradients(slopes, rows if u is None else u @ rows).flatten(2)
    product = (gradients * v).sum((1, 2))
    return values + (product - product.detach())


def _by_hand(
    chain: ReluChain, x: Tensor, rows: Tensor, choose: Choose
) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
    """The values, and what takes their gradients to those of every W_k."""
    hidden, count = chain.layers[:-1], rows.shape[1]
    active, value = [], x
    for layer in hidden:
        value = layer.affine(value).relu_()
        active.append(value.sign())
    back, carried = rows.flatten(0, 1) @ chain.weights[-1], []
    for layer, on in list(zip(hidden, active, strict=True))[::-1]:
        back = back.reshape(len(on), count, *on.shape[1:]).mul_(on.unsqueeze(1)).flatten(0, 1)
        carried.append(back)
        back = layer.back(back)
    values, u, v = choose(back.reshape(len(x), count, -1))

    def pull(gradient: Tensor) -> list[Tensor]:
        pairs, weight_gradients = v.shape[1], []
        on_way = (v * gradient.reshape(-1, 1, 1)).flatten(0, 1)
        for layer, on, back in zip(hidden, active, carried[::-1], strict=True):
            back = back.reshape(len(on), count, -1)
            back = (back if u is None else u @ back).reshape(-1, *on.shape[1:])
            on_way = on_way.reshape(-1, *layer.in_shape)
            weight_gradients.append(layer.outer(back, on_way))
            image = layer.forward(on_way)
            on_way = image.reshape(len(on), pairs, *on.shape[1:]).mul_(on.unsqueeze(1)).flatten(0, 1)
        ends = (rows if u is None else u @ rows).flatten(0, 1)
        return [*weight_gradients, ends.T @ flat(on_way)]

    return values, pull
