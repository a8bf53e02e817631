"""Activations in place of the results of refused calls, so that the calls behind them are checked too."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.fx
from torch import Tensor, nn

from lipreg.graph.calls import run_call, zero_input
from lipreg.graph.context import Context
from lipreg.graph.nodes import Input
from lipreg.graph.random_state import untouched_random_state
from lipreg.graph.symbols import Symbol, Unknown
from lipreg.linalg import Shape, identity

POINTS = 2
"""Points of the zeros by which shapes are found."""


class StandIns:
    """Activations of the same shapes as the results of calls; the graph that they get into is never built.

    Args:
        trace: the calls of the forward.
        module: whose forward was traced, in evaluation mode.
        input_shape: of one input, without the batch axis.
    """

    def __init__(self, trace: torch.fx.Graph, module: nn.Module, input_shape: Shape) -> None:
        self._trace, self._module, self._input_shape = trace, module, input_shape

    def of(self, call: torch.fx.Node, context: Context) -> Symbol | Unknown:
        """An activation of the shape of a call's result; Unknown where there is no shape, or several results."""
        shape = self._shapes.get(call)
        if shape is None:
            return Unknown()
        context.nodes.append(Input(shape))
        whole = identity(shape, shape, context.like)
        return Symbol({len(context.nodes) - 1: whole}, context.like.new_zeros(shape))

    @cached_property
    def _shapes(self) -> dict[torch.fx.Node, Shape]:
        values: dict[torch.fx.Node, object] = {}
        with torch.no_grad(), untouched_random_state():
            for call in self._trace.nodes:
                if call.op != "output" and all(earlier in values for earlier in call.all_input_nodes):
                    try:
                        made = run_call(
                            call,
                            self._module,
                            values.__getitem__,
                            lambda: zero_input(self._module, POINTS, self._input_shape),
                        )
                    except Exception:  # zeros are no discrete inputs, say; the calls behind are then unknown too
                        continue
                    values[call] = made.clone() if isinstance(made, Tensor) and call.op == "get_attr" else made
        tensors = ((call, value) for call, value in values.items() if isinstance(value, Tensor) and value.dim())
        return {call: tuple(value.shape[1:]) for call, value in tensors if len(value) == POINTS}
