"""Batch norm with running statistics: a fixed scale and shift."""

from __future__ import annotations

import torch
from torch import nn

from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Symbol


def _example() -> nn.Module:
    norm = nn.BatchNorm1d(6)
    norm.running_mean, norm.running_var = torch.randn(6), torch.rand(6) + 0.5
    return nn.Sequential(nn.Linear(4, 6), norm, nn.ReLU(), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2))


@lowers(nn.BatchNorm1d, example=Example(_example, (4,)))
def lower_batch_norm(context: Context, module: nn.BatchNorm1d, x: Symbol) -> Symbol:
    """Evaluation mode always: batch statistics couple the points of a batch and are no function of one input."""
    if module.running_mean is None or module.running_var is None:
        raise Refusal("settings", "batch norm without running statistics (track_running_stats=False)")
    inverse = (context.tensor(module.running_var) + module.eps).rsqrt()
    scale = inverse if module.weight is None else inverse * context.tensor(module.weight)
    shift = -context.tensor(module.running_mean) * scale
    if module.bias is not None:
        shift = shift + context.tensor(module.bias)
    per_channel = (-1,) + (1,) * (len(x.shape) - 1)
    return x.scaled(scale.reshape(per_channel)).shifted(shift.reshape(per_channel))
