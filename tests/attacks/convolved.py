"""Convolutional networks, written out for the oracle one entry at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import nn

from tests.attacks.cases import Case
from tests.attacks.kinds import Generator, chain, dense, kind
from tests.attacks.oracle import Where


@kind
def convolved(rng: Generator) -> Case:
    """Kernels of 1 x 2 to 3 x 3 with stride, padding, dilation and groups, a few pixels of the image free."""
    groups = int(rng.choice([1, 1, 2]))
    channels, height, width = groups * int(rng.integers(1, 3)), int(rng.integers(3, 5)), int(rng.integers(3, 5))
    filters = groups * int(rng.integers(1, 3))
    kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    stride, padding = (int(rng.integers(1, 3)), int(rng.integers(1, 3))), (int(rng.integers(2)), int(rng.integers(2)))
    dilation = (1, int(rng.integers(1, 3)) if kernel[1] < 3 else 1)
    layer = nn.Conv2d(channels, filters, kernel, stride, padding, dilation, groups, dtype=torch.float64)
    weight = rng.normal(size=tuple(layer.weight.shape)) * math.sqrt(2 / layer.weight[0].numel())
    bias = rng.normal(size=filters) * 0.3
    layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    matrix, offset = written_out(layer, (channels, height, width))
    ((last, end),) = dense(rng, [len(matrix), 2])
    head = nn.Linear(len(matrix), 2, dtype=torch.float64)
    head.weight.data, head.bias.data = torch.from_numpy(last), torch.from_numpy(end)
    net = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), head).eval()
    points = np.repeat(rng.normal(size=(1, channels * height * width)), 3, 0)
    free = rng.choice(points.shape[1], 2, replace=False)
    lower, upper = points[0].copy(), points[0].copy()
    lower[free] -= rng.uniform(0.2, 2, 2)
    upper[free] += rng.uniform(0.2, 2, 2)
    points[:, free] = rng.uniform(lower[free], upper[free], (3, 2))
    where = Where("box", lower=tuple(lower.tolist()), upper=tuple(upper.tolist()))
    program = chain([(matrix, offset), (last, end)])
    return Case(net, program, points.reshape(3, channels, height, width), where)


def written_out(layer: nn.Conv2d, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the bias of a convolution, from its definition."""
    weight, (channels, height, width) = layer.weight.detach().numpy(), shape
    (top, left), (down, across), (apart, beside) = layer.padding, layer.stride, layer.dilation  # type: ignore[misc]
    high, wide = weight.shape[2:]
    rows = (height + 2 * int(top) - apart * (high - 1) - 1) // down + 1
    columns = (width + 2 * int(left) - beside * (wide - 1) - 1) // across + 1
    matrix = np.zeros((len(weight), rows, columns, channels, height, width))
    share, own = channels // layer.groups, len(weight) // layer.groups
    for f, i, j in itertools.product(range(len(weight)), range(rows), range(columns)):
        for c, k, l in itertools.product(range(share), range(high), range(wide)):
            y, x = i * down - int(top) + k * apart, j * across - int(left) + l * beside
            if 0 <= y < height and 0 <= x < width:
                matrix[f, i, j, f // own * share + c, y, x] = weight[f, c, k, l]
    assert layer.bias is not None
    return matrix.reshape(-1, channels * height * width), np.repeat(layer.bias.detach().numpy(), rows * columns)
