"""The calls of a trace: the notes on them, and the computation of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from lipreg.linalg import Shape

LINE = "line"
"""A note on a call (``meta``): the line of code that made it."""
VALUE = "value"
"""A note on a call that reads a tensor: the tensor itself, where the module does not have it."""
CONSTANT = "no_grad"
"""A note on a call that was made under ``torch.no_grad``, where weights are constants."""
ANSWERED = "shape"
"""A note on a call: the shape that Python code has read, with None for axes that stayed symbolic."""


def run_call(
    call: torch.fx.Node, module: nn.Module, value_of: Callable[[torch.fx.Node], Any], x: Callable[[], Tensor]
) -> Any:
    """The result of one call of a module's forward.

    Args:
        call: anything but the output.
        module: whose forward was traced.
        value_of: the result of an earlier call.
        x: makes the input.
    """
    args: Any = torch.fx.map_arg(call.args, value_of)
    kwargs: Any = torch.fx.map_arg(call.kwargs, value_of)
    match call.op:
        case "placeholder":
            return x()
        case "get_attr":
            return read(call, module)
        case "call_module":
            return module.get_submodule(str(call.target)).forward(*args, **kwargs)
        case "call_method":
            return getattr(args[0], str(call.target))(*args[1:], **kwargs)
        case _:
            function: Any = call.target
            return function(*args, **kwargs)


def alike(one: torch.fx.Graph, other: torch.fx.Graph) -> bool:
    """Whether two traces make the same calls with the same constants."""

    def described(trace: torch.fx.Graph) -> list[tuple[Any, ...]]:
        return [
            (call.op, str(call.target), str(call.args), str(call.kwargs), CONSTANT in call.meta) for call in trace.nodes
        ]

    constants = [[call.meta[VALUE] for call in trace.nodes if VALUE in call.meta] for trace in (one, other)]
    same = len(constants[0]) == len(constants[1]) and all(map(_equal, *constants))
    return same and described(one) == described(other)


def _equal(one: Any, other: Any) -> bool:
    tensors = isinstance(one, Tensor) and isinstance(other, Tensor)
    return torch.equal(one, other) if tensors and one.shape == other.shape else one is other


def read(call: torch.fx.Node, module: nn.Module) -> Any:
    """What a call of kind get_attr reads: ``first.weight`` of the module, or a tensor that its forward made."""
    value = call.meta.get(VALUE)
    if value is not None:
        return value
    *parents, name = str(call.target).split(".")
    return getattr(module.get_submodule(".".join(parents)), name)


def casts(trace: torch.fx.Graph) -> set[torch.dtype]:
    """The dtypes that a forward names in its casts, float32 for ``x.float()``."""
    named = {torch.float32 for call in trace.nodes if call.op == "call_method" and call.target == "float"}
    to = (call for call in trace.nodes if call.op == "call_method" and call.target in ("to", "type"))
    return named | {
        given for call in to for given in (*call.args, *call.kwargs.values()) if isinstance(given, torch.dtype)
    }


def zero_input(module: nn.Module, points: int, input_shape: Shape) -> Tensor:
    """An input of zeros, of the dtype and on the device of the module's parameters.

    Args:
        module: the network.
        points: the size of the batch axis.
        input_shape: of one input, without the batch axis.

    Returns:
        ``(points, *input_shape)``.
    """
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    return torch.zeros(points, *input_shape, dtype=like.dtype, device=like.device)


class NamedFields(dict[str, Any]):
    """The fields of a dataclass or a named tuple of outputs, by their names.

    Args:
        kind: the class.
        args, named: the arguments that it was called with.

    Attributes:
        kind: the name of the class.
    """

    def __init__(self, kind: type, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        super().__init__(dict(zip(getattr(kind, "_fields", ()), args, strict=False)) | dict(named))
        self.kind = kind.__name__
