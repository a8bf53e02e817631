"""Max pooling, lowered to explicit windows."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.convolution import spatial
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
from lipreg.linalg import Shape


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows one dimension has, by torch's rule.

    Args:
        size: entries of the dimension.
        kernel: entries of a window.
        stride: between the starts of windows.
        padding: before and after the dimension.
        dilation: between the entries of a window.
        ceil_mode: whether a last window may hang over; one that would start in the padding behind is dropped.
    """
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def adaptive_windows(size: int, outputs: int) -> list[list[int]]:
    """The positions that each output of adaptive pooling reads in one dimension, by torch's rule."""
    return [list(range(i * size // outputs, -(-(i + 1) * size // outputs))) for i in range(outputs)]


def adaptive_sizes(sizes: Any, x: Symbol, dims: int) -> Shape:
    """The output sizes of adaptive pooling.

    Args:
        sizes: one for all spatial dimensions, or one for each; None keeps a dimension.
        x: the activations.
        dims: how many spatial dimensions they have.
    """
    sizes = (sizes,) * dims if sizes is None or isinstance(sizes, int) else tuple(sizes)
    return tuple(have if want is None else int(want) for want, have in zip(sizes, x.shape[-dims:], strict=True))


def _pool(context: Context, x: Symbol, axes: list[list[list[int]]]) -> Symbol:
    """The largest entry over all products of the positions of a window along each axis.

    Raises:
        Refusal: a window lies in the padding alone.
    """
    dims = len(axes)
    sizes = x.shape[-dims:]
    steps = [math.prod(sizes[i + 1 :]) for i in range(dims)]
    windows = [
        [sum(p * step for p, step in zip(cell, steps, strict=True)) for cell in itertools.product(*covers)]
        for covers in itertools.product(*axes)
    ]
    if not all(windows):
        raise Refusal("settings", "max pooling with windows that lie in the padding alone")
    width = max(map(len, windows))
    plane = torch.tensor([w + w[:1] * (width - len(w)) for w in windows], device=context.like.device)
    channels = math.prod(x.shape[:-dims])
    offsets = torch.arange(channels, device=plane.device) * math.prod(sizes)
    flat = (offsets.reshape(-1, 1, 1) + plane).reshape(-1, width)
    return context.max_pool(x, flat, (*x.shape[:-dims], *(len(a) for a in axes)))


def _max_pool(
    context: Context,
    x: Symbol,
    dims: int,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Symbol:
    """Max pooling by torch's settings.

    Raises:
        Refusal: it returns indices, or the activations have other dimensions.
    """
    if len(x.shape) not in (dims, dims + 1):
        raise Refusal("settings", f"MaxPool{dims}d of activations {x.shape}")
    if return_indices:
        raise Refusal("settings", "max pooling with return_indices")
    stride = kernel_size if stride is None or stride == () else stride
    settings = (spatial(v, dims) for v in (kernel_size, stride, padding, dilation))
    axes = []  # for each axis: the positions inside that each window covers
    for size, k, s, pad, d in zip(x.shape[-dims:], *settings, strict=True):
        starts = (i * s - pad for i in range(pooled_size(size, k, s, pad, d, ceil_mode)))
        axes.append([[p for p in range(a, a + d * k, d) if 0 <= p < size] for a in starts])
    return _pool(context, x, axes)


@lowers(
    nn.MaxPool1d,
    nn.MaxPool2d,
    example=Example(
        lambda: nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1), nn.Flatten(), nn.MaxPool1d(2, stride=1)), (2, 5, 5)
    ),
)
def lower_max_pool(context: Context, module: nn.MaxPool1d | nn.MaxPool2d, x: Symbol) -> Symbol:
    """The largest entry of each window, by the settings of the layer."""
    dims, m = (2 if isinstance(module, nn.MaxPool2d) else 1), module
    return _max_pool(context, x, dims, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices)


def _max_pool_call(dims: int):
    def lower(context: Context, input: Symbol, *args: Any, **kwargs: Any) -> Symbol:
        return _max_pool(context, input, dims, *args, **kwargs)

    return lower


lower_max_pool1d = lowers(F.max_pool1d, torch.max_pool1d)(_max_pool_call(1))
lower_max_pool2d = lowers(F.max_pool2d, torch.max_pool2d)(_max_pool_call(2))


@lowers(
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    example=Example(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.AdaptiveMaxPool2d((2, None)), nn.Flatten(2), nn.AdaptiveMaxPool1d(3)
        ),
        (1, 4, 3),
    ),
)
def lower_adaptive_max_pool(context: Context, module: nn.AdaptiveMaxPool1d | nn.AdaptiveMaxPool2d, x: Symbol) -> Symbol:
    """The largest entry of each of the windows that make so many outputs; see ``adaptive_windows``."""
    dims = 2 if isinstance(module, nn.AdaptiveMaxPool2d) else 1
    return _adaptive(context, x, dims, module.output_size, module.return_indices)


@lowers(F.adaptive_max_pool1d)
def lower_adaptive_max_pool1d_call(
    context: Context, input: Symbol, output_size: Any, return_indices: bool = False
) -> Symbol:
    """The largest entry of each of the windows that make so many outputs, of signals."""
    return _adaptive(context, input, 1, output_size, return_indices)


@lowers(F.adaptive_max_pool2d)
def lower_adaptive_max_pool_call(
    context: Context, input: Symbol, output_size: Any, return_indices: bool = False
) -> Symbol:
    """The largest entry of each of the windows that make so many outputs, of images."""
    return _adaptive(context, input, 2, output_size, return_indices)


def _adaptive(context: Context, x: Symbol, dims: int, output_size: Any, indices: bool) -> Symbol:
    if indices:
        raise Refusal("settings", "max pooling with return_indices")
    wanted = adaptive_sizes(output_size, x, dims)
    return _pool(context, x, [adaptive_windows(n, o) for n, o in zip(x.shape[-dims:], wanted, strict=True)])


class _Calls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.max_pool2d(F.max_pool2d(self.conv(x), 2, 1), (2, 1), 1, (1, 0))
        x = F.adaptive_max_pool2d(x, (3, 2)).flatten(1, 2)
        x = F.adaptive_max_pool1d(x.transpose(1, 2), 3)
        return torch.max_pool1d(F.max_pool1d(x, 3, padding=1, ceil_mode=True), 2, 1)


lowers(example=Example(_Calls, (1, 5, 6)))(lower_adaptive_max_pool_call)
