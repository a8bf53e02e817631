"""Convolutions and transposed convolutions, of one and two dimensions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.padding import pad
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
from lipreg.linalg import Convolution, Shape, Transposed


def spatial(value: int | tuple[int, ...], dims: int) -> Shape:
    """One number a spatial dimension, from torch's int or tuple."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


def check_planes(x: Symbol, dims: int, name: str) -> None:
    """Refuses activations that are not channels of so many dimensions.

    Args:
        x: the activations.
        dims: how many spatial dimensions they are to have.
        name: of the layer, for messages.

    Raises:
        Refusal: they have another number of dimensions.
    """
    if len(x.shape) != dims + 1:
        raise Refusal("settings", f"{name} of activations {x.shape}; (channels, {dims} dimensions) is covered")


def _ends(padding: Any, kernel: Shape, dilation: Shape, stride: Shape) -> tuple[tuple[int, int], ...]:
    """Padding before and after each dimension, as torch places it: "same" puts the odd one after."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise Refusal("settings", "padding='same' with a stride")
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in spatial(padding, len(kernel)))


def _convolve(
    context: Context,
    x: Symbol,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    mode: str = "zeros",
) -> Symbol:
    """A convolution by torch's settings, behind padding of another mode than zeros."""
    dims = weight.dim() - 2
    check_planes(x, dims, f"Conv{dims}d")
    context.check_width(x, x.shape[0], weight.shape[1] * groups, "channels", weight)
    stride, dilation = spatial(stride, dims), spatial(dilation, dims)
    ends = _ends(padding, tuple(weight.shape[2:]), dilation, stride)
    if mode != "zeros":
        x = pad(context, x, ends, mode)
        ends = ((0, 0),) * dims
    map = Convolution(context.tensor(weight), stride, ends, dilation, groups, x.shape)
    return x.then(map, None if bias is None else context.tensor(bias).reshape(-1, *(1,) * dims).expand(map.out_shape))


def _convolve_back(
    context: Context,
    x: Symbol,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Symbol:
    """A transposed convolution by torch's settings: the transpose of the convolution that they describe."""
    dims = weight.dim() - 2
    check_planes(x, dims, f"ConvTranspose{dims}d")
    stride, dilation, padding = (spatial(value, dims) for value in (stride, dilation, padding))
    sizes = [
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, s, p, d, k, extra in zip(
            x.shape[1:], stride, padding, dilation, weight.shape[2:], spatial(output_padding, dims), strict=True
        )
    ]
    ends = tuple((p, p) for p in padding)
    shape = (weight.shape[1] * groups, *sizes)
    forward = Convolution(context.tensor(weight), stride, ends, dilation, groups, shape)
    if forward.out_shape != x.shape:
        raise Refusal("settings", f"a transposed convolution of activations {x.shape} to {shape}")
    return x.then(
        Transposed(forward), None if bias is None else context.tensor(bias).reshape(-1, *(1,) * dims).expand(shape)
    )


@lowers(
    nn.Conv1d,
    nn.Conv2d,
    example=Example(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0), groups=2),
            nn.ReLU(),
            nn.Conv2d(4, 3, 2, padding="same", dilation=2),
            nn.ReLU(),
            nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"),
        ),
        (2, 7, 6),
    ),
)
def lower_convolution(context: Context, module: nn.Conv1d | nn.Conv2d, x: Symbol) -> Symbol:
    """The convolution, by the settings of the layer."""
    m = module
    return _convolve(context, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups, m.padding_mode)


@lowers(torch.conv1d, torch.conv2d, F.conv1d, F.conv2d)
def lower_convolution_call(
    context: Context, input: Symbol, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Symbol:
    """The convolution of ``input`` with ``weight`` and ``bias``, by torch's further arguments."""
    return _convolve(context, input, weight, bias, *args, **kwargs)


@lowers(
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    example=Example(
        lambda: nn.Sequential(
            nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 1, (2, 3), dilation=2),
        ),
        (2, 3, 2),
    ),
)
def lower_transposed_convolution(
    context: Context, module: nn.ConvTranspose1d | nn.ConvTranspose2d, x: Symbol
) -> Symbol:
    """The transposed convolution, by the settings of the layer."""
    m = module
    return _convolve_back(context, x, m.weight, m.bias, m.stride, m.padding, m.output_padding, m.groups, m.dilation)


@lowers(torch.conv_transpose1d, torch.conv_transpose2d, F.conv_transpose1d, F.conv_transpose2d)
def lower_transposed_convolution_call(
    context: Context, input: Symbol, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Symbol:
    """The transposed convolution of ``input`` with ``weight`` and ``bias``, by torch's further arguments."""
    return _convolve_back(context, input, weight, bias, *args, **kwargs)


class _Calls(nn.Module):
    """The functional forms, and a depthwise convolution under a pointwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(4, 1, 3)), nn.Parameter(torch.randn(4, 3, 2))
        self.plane = nn.Parameter(torch.randn(2, 1, 2, 3))
        self.mix, self.back = nn.Conv1d(4, 3, 1), nn.ConvTranspose1d(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv1d(x, self.a, None, 1, "same", groups=4)
        x = F.conv_transpose1d(self.back(self.mix(x)), self.b[:3], stride=2).unsqueeze(1)
        return F.conv_transpose2d(F.conv2d(x, self.plane), self.plane, stride=(1, 2))


lowers(example=Example(_Calls, (4, 5)))(lower_convolution_call)
