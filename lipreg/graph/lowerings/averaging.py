"""Average pooling and means: affine."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.batches import Stacked
from lipreg.graph.context import Context
from lipreg.graph.lowerings.arrangement import permuted
from lipreg.graph.lowerings.casts import check_dtype
from lipreg.graph.lowerings.convolution import check_planes, spatial
from lipreg.graph.lowerings.pooling import adaptive_sizes, adaptive_windows, pooled_size
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
from lipreg.linalg import Convolution, Dense, Repeated


def _average(
    context: Context,
    x: Symbol,
    dims: int,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Symbol:
    """Average pooling as a convolution of each channel, by torch's rule of what a window is divided by."""
    check_planes(x, dims, f"AvgPool{dims}d")
    kernel, divisor = spatial(kernel_size, dims), divisor_override
    stride = kernel if stride is None or stride == () else spatial(stride, dims)
    ends, counts = [], []
    for n, k, s, p in zip(x.shape[1:], kernel, stride, spatial(padding, dims), strict=True):
        outputs = pooled_size(n, k, s, p, 1, ceil_mode)
        ends.append((p, (outputs - 1) * s + k - n - p))
        starts = [i * s - p for i in range(outputs)]
        # what torch divides by: the window cut to the image, with its padding unless that does not count
        low, high = (-p, n + p) if count_include_pad else (0, n)
        counts.append([min(a + k, high) - max(a, low) for a in starts])
    channels, like = x.shape[0], context.like
    weight = like.new_ones(channels, 1, *kernel)
    one = (1,) * dims
    regular = divisor is not None or all(len(set(c)) == 1 for c in counts)
    if regular:
        weight = weight / (divisor if divisor is not None else math.prod(c[0] for c in counts))
    pooled = x.then(Convolution(weight, stride, tuple(ends), one, channels, x.shape))
    if regular:
        return pooled
    sizes = [torch.tensor(c, dtype=like.dtype, device=like.device) for c in counts]
    area = sizes[0] if dims == 1 else sizes[0].unsqueeze(1) * sizes[1]
    return pooled.scaled(1.0 / area)


@lowers(
    nn.AvgPool1d,
    nn.AvgPool2d,
    example=Example(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2),
            nn.AvgPool2d(2, stride=1),
            nn.ReLU(),
            nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        ),
        (1, 6, 5),
    ),
)
def lower_average_pool(context: Context, module: Any, x: Symbol) -> Symbol:
    """The mean of each window, by the settings of the layer."""
    dims, m = (2 if isinstance(module, nn.AvgPool2d) else 1), module
    divisor = getattr(m, "divisor_override", None)
    return _average(context, x, dims, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, divisor)


def _average_call(dims: int):
    def lower(context: Context, input: Symbol, *args: Any, **kwargs: Any) -> Symbol:
        return _average(context, input, dims, *args, **kwargs)

    return lower


lower_average_pool1d = lowers(F.avg_pool1d)(_average_call(1))
lower_average_pool2d = lowers(F.avg_pool2d)(_average_call(2))


def _adaptive(context: Context, x: Symbol, dims: int, output_size: Any) -> Symbol:
    check_planes(x, dims, f"AdaptiveAvgPool{dims}d")
    wanted = adaptive_sizes(output_size, x, dims)
    if all(n % o == 0 for n, o in zip(x.shape[1:], wanted, strict=True)):
        kernel = tuple(n // o for n, o in zip(x.shape[1:], wanted, strict=True))
        return x if math.prod(kernel) == 1 else _average(context, x, dims, kernel)
    plane = torch.ones(1, 1, dtype=torch.float64)
    for n, o in zip(x.shape[1:], wanted, strict=True):
        axis = torch.zeros(o, n, dtype=torch.float64)
        for i, covers in enumerate(adaptive_windows(n, o)):
            axis[i, covers] = 1.0 / len(covers)
        plane = torch.kron(plane, axis)
    matrix = plane.to(context.like)
    return x.then(Repeated(matrix, x.shape, (x.shape[0], *wanted)))


@lowers(
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    example=Example(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3)), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        ),
        (1, 6, 5),
    ),
)
def lower_adaptive_average_pool(context: Context, module: Any, x: Symbol) -> Symbol:
    """The mean of each of the windows that make so many outputs; see ``pooling.adaptive_windows``."""
    return _adaptive(context, x, 2 if isinstance(module, nn.AdaptiveAvgPool2d) else 1, module.output_size)


@lowers(F.adaptive_avg_pool2d)
def lower_adaptive_average_pool_call(context: Context, input: Symbol, output_size: Any) -> Symbol:
    """The mean of each of the windows that make so many outputs, of images."""
    return _adaptive(context, input, 2, output_size)


@lowers(F.adaptive_avg_pool1d, torch.adaptive_avg_pool1d)
def lower_adaptive_average_pool1d_call(context: Context, input: Symbol, output_size: Any) -> Symbol:
    """The mean of each of the windows that make so many outputs, of signals."""
    return _adaptive(context, input, 1, output_size)


@lowers(torch.mean, "mean")
def lower_mean(
    context: Context, input: Symbol, dim: Any = None, keepdim: bool = False, dtype: Any = None, axis: Any = None
) -> Symbol:
    """The mean over the dimensions ``dim``.

    Raises:
        Refusal: no dimensions are named, or the batch axis is among them.
    """
    check_dtype(dtype)
    return _total(context, input, axis if dim is None else dim, keepdim, mean=True)


@lowers(torch.sum, "sum")
def lower_sum(
    context: Context, input: Symbol, dim: Any = None, keepdim: bool = False, dtype: Any = None, axis: Any = None
) -> Symbol:
    """The sum over the dimensions ``dim``.

    Raises:
        Refusal: no dimensions are named, or the batch axis is among them.
    """
    check_dtype(dtype)
    return _total(context, input, axis if dim is None else dim, keepdim, mean=False)


def _total(context: Context, x: Symbol | Stacked, dim: Any, keepdim: bool, mean: bool) -> Symbol:
    """The sum or mean over some dimensions: a map with one row for each entry that stays."""
    if dim is None:
        raise Refusal("settings", "a sum or mean over the batch axis; name the dimensions")
    if isinstance(x, Stacked):
        return _over_stack(context, x, dim, keepdim, mean)
    axes = sorted(d % x.ndim - 1 for d in ((dim,) if isinstance(dim, int) else tuple(dim)))
    if axes[0] < 0:
        raise Refusal("settings", "a sum or mean over the batch axis")
    kept = [i for i in range(len(x.shape)) if i not in axes]
    count = math.prod(x.shape[i] for i in axes)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdim or i in kept)
    row = context.like.new_full((1, count), 1.0 / count if mean else 1.0)
    if kept == list(range(len(kept))):  # the last dimensions: equal blocks, one after another
        return x.then((Repeated if kept else Dense)(row, x.shape, shape))
    last = permuted(context, x, [*kept, *axes])
    return last.then(Repeated(row, last.shape, shape))


def _over_stack(context: Context, members: Stacked, dim: Any, keepdim: bool, mean: bool) -> Symbol:
    if keepdim or dim not in (0, (0,), [0]):
        raise Refusal(
            "settings", "a sum or mean of stacked activations over other dimensions than the first, or keeping it"
        )
    total = members[0]
    for member in members[1:]:
        total = total.plus(member)
    return total.scaled(context.tensor(1.0 / len(members))) if mean else total


class _Means(nn.Module):
    """Means as networks end in, and the functional forms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(F.avg_pool2d(x, 2, stride=1)))
        y = F.adaptive_avg_pool2d(x, 1).flatten(1) + x.mean((2, 3)) - x.mean(dim=[-1, -2], keepdim=True).flatten(1)
        y = y + torch.stack([y, self.last(y).repeat(1, 2)[:, :3]]).mean(0) - torch.stack((y, -y, y)).sum(dim=0)
        return self.last(torch.relu(y)) + x.sum(1).flatten(1).mean(1, keepdim=True)


class _Lines(nn.Module):
    """In one dimension, where the windows of a call are not of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.last = nn.AvgPool1d(2, stride=1), nn.AdaptiveAvgPool1d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool1d(self.pool(x).relu(), 3, 2, padding=1, count_include_pad=False)
        return self.last(F.adaptive_avg_pool1d(x, 3)) + torch.mean(x, -1, keepdim=True) - torch.sum(x, (1, 2), True)


lowers(example=Example(_Lines, (2, 8)))(lower_sum)
lowers(example=Example(_Means, (2, 5, 4)))(lower_mean)
