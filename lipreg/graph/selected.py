"""One input and one output of a network that has several."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn

from lipreg.errors import InvalidInput

_WHERE = "Select"


class Select(nn.Module):
    """x -> one output of a network, as a function of one of its inputs, the others held fixed.

        lipreg.Select(net, "logits")                               # of a dict, a dataclass or a named tuple
        lipreg.Select(net, 0)                                      # of a tuple or a list
        lipreg.Select(net, fixed={"goal": goal})                   # forward(state, goal): the state moves
        lipreg.Select(net, "y", input="image", fixed={"mask": m})  # forward(batch) that reads batch["image"], batch["mask"]

    It is a network like any other for every question and every function of lipreg. What is fixed is the same at all
    reference points; where it belongs to a point, ask point by point, each with its own. One ``Select`` in another selects
    from nested outputs.
    As an attribute of a module it adds ``network.`` to the names of saved weights; made where it is used, in a property, a
    method or a forward, it adds nothing.

    Args:
        network: any module; its weights are shared, not copied.
        output: which of its outputs: a key, a field or a place. None where it returns one tensor.
        input: which input moves: the name of an argument; or, where forward takes one dict or one tuple of inputs, the key
            or the place in it. None for the first argument that is not fixed.
        fixed: the other inputs, by the same names. Tensors are given as for one point, ``(1, *shape)``, and repeated for
            each; numbers, flags and tensors without dimensions are passed as they are.

    Raises:
        InvalidInput: a name that the forward does not take, a fixed tensor of several points; or, when it is run, an output
            that is not there.
    """

    def __init__(
        self,
        network: nn.Module,
        output: str | int | None = None,
        *,
        input: str | int | None = None,
        fixed: Mapping[Any, Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise InvalidInput(f"got {type(network).__name__}", where=_WHERE, accepted="a torch.nn.Module")
        self.network, self.output = network, output
        if not isinstance(fixed, Mapping | None):
            got, accepted = f"fixed of type {type(fixed).__name__}", "the other inputs by their names, {'mask': tensor}"
            raise InvalidInput(got, where=_WHERE, accepted=accepted)
        arrays = {name: value for name, value in (fixed or {}).items() if isinstance(value, np.ndarray)}
        self._fixed = {**(fixed or {}), **{name: torch.as_tensor(value) for name, value in arrays.items()}}
        names, self._one_argument = _names(network), False
        self.holds_more = input is not None or bool(self._fixed)
        """Whether an input is named or others are held fixed, beside the choice of an output."""
        self._input = _moving(names, self._fixed, type(network).__name__) if input is None else input
        if self._input not in names and None not in names:
            self._one_argument = True
            if len([name for name in names if name is not None]) != 1:
                raise InvalidInput(f"input={input!r}", where=_WHERE, accepted=f"one of {', '.join(map(repr, names))}")
        for name, value in self._fixed.items():
            if not self._one_argument and name not in names and None not in names:
                raise InvalidInput(
                    f"fixed={{{name!r}: ...}}", where=_WHERE, accepted=f"some of {', '.join(map(repr, names))}"
                )
            if isinstance(value, Tensor):
                if value.dim() and value.shape[0] != 1:
                    raise InvalidInput(
                        f"fixed {name!r} of shape {tuple(value.shape)}",
                        where=_WHERE,
                        accepted="a tensor for one point, (1, *shape), which is the same at all of them",
                        todo="Where it belongs to a point, ask point by point",
                    )
                self.register_buffer(f"fixed_{name}", value, persistent=False)

    def forward(self, x: Tensor) -> Any:
        given: dict[Any, Any] = {self._input: x}
        for name, value in self._fixed.items():
            own = getattr(self, f"fixed_{name}") if isinstance(value, Tensor) else value
            given[name] = own.expand(x.shape[0], *own.shape[1:]) if isinstance(value, Tensor) and own.dim() else own
        if not self._one_argument:
            outputs = self.network(**given)
        elif isinstance(self._input, int):
            outputs = self.network(tuple(given[place] for place in range(len(given))))
        else:
            outputs = self.network(given)
        return outputs if self.output is None else _taken(outputs, self.output)


def _names(network: nn.Module) -> list[str | None]:
    """The arguments of a forward; None among them where it takes any."""
    arguments = inspect.signature(network.forward).parameters.values()
    return [
        None if p.kind is p.VAR_KEYWORD else p.name
        for p in arguments
        if p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)
    ]


def _moving(names: list[str | None], fixed: Mapping[Any, Any], kind: str) -> str:
    free = [name for name in names if name is not None and name not in fixed]
    if not free:
        raise InvalidInput(
            f"no argument of {kind}'s forward is left to move", where=_WHERE, todo="Give its name, input=..."
        )
    return free[0]


def _taken(outputs: Any, output: str | int) -> Any:
    """One of several outputs."""
    if isinstance(outputs, Tensor | torch.fx.Proxy):
        raise InvalidInput(f"output={output!r} of a network that returns one tensor", where=_WHERE, todo="Leave it out")
    parts: Mapping[Any, Any] = dict(enumerate(outputs)) if isinstance(outputs, tuple | list) else {}
    if isinstance(outputs, Mapping):
        parts = outputs
    if output in parts:
        return parts[output]
    if isinstance(output, str) and hasattr(outputs, output):
        return getattr(outputs, output)
    accepted = f"one of {', '.join(map(repr, parts))}" if parts else f"a field of {type(outputs).__name__}"
    raise InvalidInput(f"output={output!r}", where=_WHERE, accepted=accepted)
