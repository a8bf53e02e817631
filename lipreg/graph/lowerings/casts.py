"""Casts and moves to devices, which keep values: a graph has a dtype and a device of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.parts import stepped
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Part

_FLOATS = (torch.float32, torch.float64)


@lowers("double", "to", "type", "type_as", parts=True)
def lower_cast(context: Context, input: Any, *args: Any, **kwargs: Any) -> Any:
    """input itself, a constant or activations; numbers of a step (``Part``) are then held in the activations' dtype.

    Raises:
        Refusal: a dtype that rounds values visibly.
    """
    for given in (*args, *kwargs.values()):
        check_dtype(given.dtype if isinstance(given, Tensor) else given)
    value = stepped(input)
    return replace(value, dtype=None) if isinstance(value, Part) else value


@lowers("float", parts=True)
def lower_single(context: Context, input: Any, **kwargs: Any) -> Any:
    """input itself; numbers of a step (``Part``) are then held in float32."""
    value = stepped(input)
    return replace(value, dtype=torch.float32) if isinstance(value, Part) else value


def check_dtype(given: Any) -> None:
    """Refuses dtypes that round values visibly, in each form in which torch takes them; other values pass.

    Raises:
        Refusal: it is such a dtype.
    """
    if isinstance(given, torch.dtype) and given not in _FLOATS:
        if given.is_floating_point:
            rounds = f"a cast to {given} rounds its values; float32 and float64 are covered"
            raise Refusal("settings", f"{rounds}. network.float() makes a cast to the dtype of a weight one to float32")
        raise Refusal("never", f"a cast to {given} rounds to whole numbers, and jumps between them")
    of_type = given if isinstance(given, str) else getattr(given, "__name__", "") if isinstance(given, type) else ""
    if "Tensor" in of_type and not of_type.endswith(("FloatTensor", "DoubleTensor")):
        raise Refusal("settings", f"a cast to {of_type}; FloatTensor and DoubleTensor are covered")


class _Casts(nn.Module):
    """Casts of the input, of the output and of constants, and branches on shapes and flags, as training code has them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.mean = nn.Linear(3, 2), nn.Buffer(torch.rand(3))

    def forward(self, x: Tensor, return_features: bool = False, mask: Tensor | None = None) -> Any:
        batch, *sizes = x.size()
        assert x.dim() == 2 and sizes == [3] and x.shape[-1] == self.a.weight.shape[1] and len(x) > 0
        x = (x - self.mean.type_as(x)).to(self.mean.device, x.dtype).cpu()
        x = x.to(self.a.weight).type_as(x).type(self.mean.dtype) if mask is None else x * mask
        features = self.a(input=x.view(len(x), -1)).relu().view(batch, -1).double() + self.a.bias.float()
        features = features * (features > 0).float()
        return (features, x) if return_features else features.to(device=x.device, dtype=x.dtype)


lowers(example=Example(_Casts, (3,)))(lower_cast)
lowers(example=Example(_Casts, (3,)))(lower_single)
