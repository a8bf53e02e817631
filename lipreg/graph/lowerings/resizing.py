"""Upsampling: nearest, where each entry is one of the input, and linear, one small matrix along each dimension."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.arrangement import permuted
from lipreg.graph.lowerings.padding import moved, positions
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
from lipreg.linalg import Repeated

_LINEAR = {"linear": 1, "bilinear": 2}


@lowers(
    nn.Upsample,
    nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d,
    example=Example(
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2, 2, 3),
            nn.ReLU(),
            nn.Upsample((5, 7)),
            nn.UpsamplingNearest2d((3, 8)),
            nn.UpsamplingBilinear2d((5, 3)),
            nn.Upsample(scale_factor=(0.5, 2), mode="bilinear"),
        ),
        (2, 3, 3),
    ),
)
def lower_upsample(context: Context, module: nn.Upsample, x: Symbol) -> Symbol:
    """The activations resized, by the settings of the layer.

    Raises:
        Refusal: another mode, or recompute_scale_factor.
    """
    m = module
    if m.recompute_scale_factor:
        raise Refusal("settings", "upsampling with recompute_scale_factor")
    return _resize(context, x, m.size, m.scale_factor, m.mode, m.align_corners)


@lowers(F.interpolate)
def lower_interpolate(
    context: Context,
    input: Symbol,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    **kwargs: Any,
) -> Symbol:
    """The activations resized, by torch's arguments.

    Raises:
        Refusal: another mode, or further arguments.
    """
    if any(kwargs.values()):
        raise Refusal("settings", f"interpolate with {', '.join(k for k, v in kwargs.items() if v)}")
    return _resize(context, input, size, scale_factor, mode, align_corners)


def _resize(context: Context, x: Symbol, size: Any, factor: Any, mode: str, align_corners: bool | None) -> Symbol:
    """The activations in other spatial sizes.

    Raises:
        Refusal: another mode than nearest, linear and bilinear.
    """
    if mode in _LINEAR and len(x.shape) == _LINEAR[mode] + 1:
        return _linear(context, x, size, factor, align_corners)
    if mode not in ("nearest", "nearest-exact"):
        raise Refusal("not yet", f"interpolation by {mode!r}; 'nearest', 'linear' and 'bilinear' are covered")
    # torch's own call on positions shows which entry each place reads; they are whole numbers, exact in float64
    index = F.interpolate(positions(x).double().unsqueeze(0), size=size, scale_factor=factor, mode=mode)
    return moved(context, x, index[0].long())


def _linear(context: Context, x: Symbol, size: Any, factor: Any, align_corners: bool | None) -> Symbol:
    """Linear interpolation along one dimension after the other: torch's own of the unit vectors makes the matrix."""
    dims = len(x.shape) - 1
    sizes, factors = (list(v) if isinstance(v, tuple | list) else [v] * dims for v in (size, factor))
    for axis in range(dims):
        columns = torch.eye(x.shape[axis + 1], dtype=torch.float64).unsqueeze(0)
        matrix = F.interpolate(
            columns, size=sizes[axis], scale_factor=factors[axis], mode="linear", align_corners=align_corners
        )
        weight = context.tensor(matrix[0].T.contiguous())
        order = [i for i in range(dims + 1) if i != axis + 1] + [axis + 1]
        last = permuted(context, x, order)
        last = last.then(Repeated(weight, last.shape, (*last.shape[:-1], len(weight))))
        x = permuted(context, last, [order.index(i) for i in range(dims + 1)])
    return x


class _Calls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(self.conv(x).relu(), scale_factor=2)
        x = F.interpolate(F.interpolate(x, (3, 5), mode="nearest-exact"), (2, 4), mode="bilinear", align_corners=True)
        return F.interpolate(x.flatten(2), scale_factor=0.5, mode="linear")


lowers(example=Example(_Calls, (2, 3, 3)))(lower_interpolate)
