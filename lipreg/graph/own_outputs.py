"""A module's own forward, run at points as it is, and once more: a network gives the same points the same outputs."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph.module_state import evaluation_mode, untouched


class UnsteadyNetwork(UnsupportedModel):
    """A forward that gives the same points other outputs when it is called again."""


def own_outputs(module: nn.Module, x: Tensor, name: str, again: bool) -> Tensor:
    """What a module returns at x at evaluation, with everything left as it was but for the global random states.

    Args:
        module: the module.
        x: points ``(batch, *shape)`` in the dtype and on the device that it takes.
        name: of the network, for errors.
        again: whether a second call makes sure of it.

    Raises:
        UnsupportedModel: it cannot be run at x alone, or returns something else when it is called again.
    """
    parts = list(module.modules())
    compiled = any(part._compiled_call_impl is not None or "_orig_mod" in part._modules for part in parts)
    # a compiled module would be compiled again for evaluation; the compiler takes seconds to import
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with untouched(parts), evaluation_mode(module), eager:
        try:
            outputs = module(x.clone()).detach().clone()  # a forward may write into what it is given
            # in the state that the first call has left
            second = module(x.clone()).detach() if again else outputs
        except InvalidInput:  # an error of lipreg, whose message names the fault of the network or of the points
            raise
        except Exception as error:
            raise UnsupportedModel(
                f"its own forward cannot be run to compare the graph with it: {type(error).__name__}: {error}",
                where=name,
                accepted="a network that takes the inputs alone",
            ) from error
    same = not again or torch.equal(outputs.nan_to_num(), second.nan_to_num())
    if not same and not torch.allclose(outputs, second, rtol=1e-4, atol=1e-6):
        raise UnsteadyNetwork(
            "its forward gives the same points other outputs when it is called again, at evaluation too",
            where=name,
            accepted="a network with one output for each input, whatever was asked of it before",
            todo="Counters, caches and generators of random numbers may stay where they do not reach the output",
        )
    return outputs
