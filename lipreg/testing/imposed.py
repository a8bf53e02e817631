"""Runs of a network in which each operation on what depends on its input is seen: affine ones pass, ReLUs are replaced.

What a network is, is read off the operations that reach PyTorch's dispatcher, not off its modules: a ReLU is ``aten.relu``
or ``aten.leaky_relu``, whoever calls it, in place or not, and whatever is neither that nor affine is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lipreg.errors import InvalidInput

RELUS = {"relu", "relu_", "leaky_relu", "leaky_relu_"}
LINEAR = set(
    "add add_ sub sub_ rsub neg neg_ sum mean cat stack copy_ clone _to_copy alias detach view _unsafe_view reshape "
    "select slice split split_with_sizes unbind unsqueeze squeeze t transpose permute expand repeat flip roll "
    "diagonal unfold as_strided constant_pad_nd zero_ lift_fresh select_scatter slice_scatter cumsum".split()
)
"""Linear in all of their tensors at once, up to constants."""
FIRST = set(
    "div div_ index index_select gather convolution avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "masked_fill native_batch_norm _native_batch_norm_legit_no_training upsample_nearest1d upsample_nearest2d "
    "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d".split()
)
"""Affine in the first one, the others being constants."""
PRODUCTS = {name: slice(0, 2) for name in ("mul", "mul_", "mm", "bmm", "mv", "dot")} | {
    name: slice(1, 3) for name in ("addmm", "baddbmm", "addmv")
}
"""Affine where of these arguments at most one depends on the input."""
SHAPES = set("zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full".split())
"""Look at no value."""
ESCAPES = {"numpy", "tolist", "__array__", "item", "data_ptr", "__dlpack__", "untyped_storage"}
"""Methods that hand numbers to code that PyTorch does not see."""

Rule = Callable[[Tensor, float], Tensor]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for t in value if isinstance(t, Tensor)] if isinstance(value, list | tuple) else []


class _Watch(TorchDispatchMode):
    """Follows what depends on x, by its memory, and hands (pre-activation, negative slope) of each ReLU to a rule."""

    def __init__(self, x: Tensor, rule: Rule) -> None:
        super().__init__()
        self.rule, self.alive, self.memory = rule, [x], {x.untyped_storage().data_ptr()}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # True loads torch's compiler, which takes seconds and compiles nothing here
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name.split("::")[-1], kwargs or {}
        depends = [self.holds(arg) for arg in args]
        if not any(depends) and not (kwargs and self.holds(list(kwargs.values()))):
            return func(*args, **kwargs)
        if name in RELUS:
            z = args[0]
            activated = self.rule(z.clone(), float(args[1]) if len(args) > 1 else 0.01 if "leaky" in name else 0.0)
            return z.copy_(activated) if name.endswith("_") else self.follow(activated)
        out = func(*args, **kwargs)
        if name in SHAPES:
            return out
        other = kwargs.get("rounding_mode") or (name == "native_batch_norm" and args[5])  # floors; batch statistics
        rounds = any(t.dtype != torch.float64 and t.numel() for t in _tensors(out))
        if name in PRODUCTS:
            affine = sum(depends[PRODUCTS[name]]) < 2
        else:
            affine = name in LINEAR or (name in FIRST and not any(depends[1:]) and not other)
        if not affine or rounds:
            refuse(f"{func._schema.name.replace('::', '.')}" + (" and leaves float64" if affine else ""))
        if name.endswith("_") or name == "as_strided":  # what was constant memory depends on x from here on
            self.follow(args[0])
        for part in _tensors(out):
            self.follow(part)
        return out

    def holds(self, value: Any) -> bool:
        return any(t.untyped_storage().data_ptr() in self.memory for t in _tensors(value))

    def follow(self, value: Tensor) -> Tensor:
        if value.numel():
            self.alive.append(value)  # so that nothing else is given this memory
            self.memory.add(value.untyped_storage().data_ptr())
        return value


class _NoEscape(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ESCAPES:
            refuse(f"Tensor.{func.__name__}")
        return func(*args, **(kwargs or {}))


def refuse(operation: str) -> None:
    """Raises InvalidInput for an operation that is not affine."""
    raise InvalidInput(
        f"a network that applies {operation} to what depends on its input, so that fixed slopes do not make it affine",
        where="enumeration",
        accepted="networks of affine operations and nn.ReLU or nn.LeakyReLU alone",
    )


def run(net: nn.Module, x: Tensor, rule: Rule, escapes: bool = False) -> Tensor:
    """The network at float64 points ``(count, inputs)``, its ReLUs replaced by a rule of (pre-activation, negative slope).

    Args:
        net: the network, in float64 and evaluation mode.
        x: the points.
        rule: what stands in the place of each ReLU.
        escapes: whether numbers may leave PyTorch's sight; one run in which they may not proves it for all runs, since
            nothing that a network does can depend on its input.

    Raises:
        InvalidInput: the network applies something else that is not affine; the message names it.
    """
    x = x.clone()
    with torch.no_grad(), _Watch(x, rule), nullcontext() if escapes else _NoEscape():
        return net(x)
