"""Other devices and dtypes: the same values, for a graph has an arithmetic of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.graph.lowerings.parts import stepped
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Part

_FLOATS = (torch.float32, torch.float64)


@lowers("double", "to", "type", "type_as")
def lower_cast(context: Context, input: Any, *args: Any, **kwargs: Any) -> Any:
    """Casts to single and double precision, and moves to a device; of constants too."""
    for given in (*args, *kwargs.values()):
        check_dtype(given.dtype if isinstance(given, Tensor) else given)
    found = stepped(input)
    return replace(found, dtype=None) if isinstance(found, Part) else found


@lowers("float")
def lower_single(context: Context, input: Any, **kwargs: Any) -> Any:
    found = stepped(input)
    return replace(found, dtype=torch.float32) if isinstance(found, Part) else found


def check_dtype(given: Any) -> None:
    """Refuses dtypes that round values visibly, in each form in which torch takes them."""
    if isinstance(given, torch.dtype) and given not in _FLOATS:
        if given.is_floating_point:
            said = f"a cast to {given} rounds its values; float32 and float64 are covered"
            raise Refusal("settings", f"{said}. network.float() makes a cast to the dtype of a weight one to float32")
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
