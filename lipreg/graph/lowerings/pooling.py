"""Max pooling: the one nonlinearity beside ReLU, lowered to explicit windows."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Symbol


def _pair(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


@lowers(
    nn.MaxPool1d,
    nn.MaxPool2d,
    example=Example(
        lambda: nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1), nn.Flatten(), nn.MaxPool1d(2, stride=1)), (2, 5, 5)
    ),
)
def lower_max_pool(context: Context, module: nn.MaxPool1d | nn.MaxPool2d, x: Symbol) -> Symbol:
    dims = 2 if isinstance(module, nn.MaxPool2d) else 1
    if len(x.shape) not in (dims, dims + 1):
        raise Refusal("settings", f"{type(module).__name__} of activations {x.shape}")
    if module.ceil_mode or module.return_indices:
        raise Refusal("settings", "max pooling with ceil_mode or return_indices")
    kernel, stride, padding, dilation = (
        _pair(v, dims) for v in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    sizes = x.shape[-dims:]
    axes = []  # for each axis: the positions that each window covers, None outside
    for size, k, s, pad, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        count = (size + 2 * pad - d * (k - 1) - 1) // s + 1
        starts = (i * s - pad for i in range(count))
        axes.append([[p for p in range(a, a + d * k, d) if 0 <= p < size] for a in starts])
    strides = [math.prod(sizes[i + 1 :]) for i in range(dims)]
    windows = [
        [sum(p * step for p, step in zip(cell, strides, strict=True)) for cell in itertools.product(*covers)]
        for covers in itertools.product(*axes)
    ]
    if not all(windows):
        raise Refusal("settings", "max pooling with windows that lie in the padding alone")
    width = math.prod(kernel)
    plane = torch.tensor([w + w[:1] * (width - len(w)) for w in windows], device=context.like.device)
    channels = math.prod(x.shape[:-dims])
    offsets = torch.arange(channels, device=plane.device) * math.prod(sizes)
    flat = (offsets.reshape(-1, 1, 1) + plane).reshape(-1, width)
    return context.max_pool(x, flat, (*x.shape[:-dims], *(len(a) for a in axes)))
