"""Whether a layer that computes something else while it is trained is lowered as what it computes, or refused."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedModel
from lipreg.graph import capture, evaluation_mode
from lipreg.testing.failures import CheckFailed
from lipreg.testing.layers import LayerUnderTest, live_graph


def training_mode(layer: LayerUnderTest) -> None:
    """In training mode the graph has the values that the module is trained with, or the lowering refuses it.

    What the module draws at random it cannot have: there its values are those of evaluation, as for dropout.
    """
    module, x = layer.built().train(), layer.inputs()
    try:
        graph = live_graph(capture(module, x[:1]))
    except UnsupportedModel:
        return
    with torch.no_grad():
        got, (wanted, other) = graph(x), (_trained(layer, x, seed) for seed in range(2))
        alone = [_trained(layer, x[i : i + 1], 0) for i in range(len(x))]
        with evaluation_mode(module):
            evaluated = module(x)
    instead = "a lowering that reads context.training refuses it, or has these"
    each = [values for values in alone if values is not None]
    if wanted is None or other is None or len(each) < len(x):
        raise CheckFailed(
            f"{layer.name}: in training mode the module fails at single points, and is not refused; {instead}"
        )
    if not torch.equal(wanted, other):  # drawn
        layer.same(got, evaluated, "in training mode the graph's values and the module's at evaluation")
        return
    layer.same(torch.cat(each), wanted, f"in training mode the module's values of points alone and together; {instead}")
    layer.same(got, wanted, f"in training mode the graph's values and the module's; {instead}")


def _trained(layer: LayerUnderTest, x: Tensor, seed: int) -> Tensor | None:
    """The values of a module in training mode that has computed none before; None where it computes none of these points."""
    module: nn.Module = copy.deepcopy(layer.built().train())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return module(x)
        except ValueError:  # batch norm, of a single point
            return None
