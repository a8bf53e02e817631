"""Batch norm with running statistics: a fixed scale and shift, or in training a scale that follows the weights."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.registry import OF_DEVIATION, Example, Refusal, lowers
from lipreg.graph.symbols import Symbol


def _example() -> nn.Module:
    norm = nn.BatchNorm1d(6)
    norm.running_mean, norm.running_var = torch.randn(6), torch.rand(6) + 0.5
    return nn.Sequential(nn.Linear(4, 6), norm, nn.ReLU(), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2))


def _images() -> nn.Module:
    norm = nn.BatchNorm2d(3)
    norm.running_mean, norm.running_var = torch.randn(3), torch.rand(3) + 0.5
    return nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), norm, nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 2))


def _synchronised() -> nn.Module:
    return nn.SyncBatchNorm.convert_sync_batchnorm(_images())


def _normalize(
    context: Context,
    x: Symbol,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Symbol:
    """weight (x - mean) / sqrt(variance + eps) + bias for each channel.

    Raises:
        Refusal: there are no running statistics, or the layer is in training mode and that was not waived.
    """
    if mean is None or variance is None:
        raise Refusal("settings", "batch norm without running statistics (track_running_stats=False)")
    if context.training:
        why = (
            "in training mode it uses the statistics of each batch, which is no function of one input; call eval(), or "
        )
        raise Refusal("settings", why + "ask for its running statistics: capture(..., running_statistics=True)")
    scale = (context.tensor(variance) + eps).rsqrt()
    if weight is not None:
        scale = scale * context.tensor(weight)
    per_channel = (-1,) + (1,) * (len(x.shape) - 1)
    middle, scale = context.tensor(mean).reshape(per_channel), scale.reshape(per_channel)
    shift = torch.zeros_like(middle) if bias is None else context.tensor(bias).reshape(per_channel)
    if not context.differentiates_statistics:  # shift, scale and shift one after the other: their sum may cancel
        return x.shifted(-middle).scaled(scale).shifted(shift)
    # biases before it and the mean that it subtracts cancel in a batch: no gradient, and no growth of sigma
    scaled = x.scaled(scale / _growth(context, x).reshape(per_channel))
    return replace(scaled, bias=(x.bias.detach() - middle) * scale + shift)


def _growth(context: Context, x: Symbol) -> Tensor:
    """1 for each channel, with the gradient of log sigma with respect to all that the channel is computed from.

    The running sigma is constant to autograd, while the loss of a training step uses the sigma of its batch, which grows in
    proportion to the weights before it. With sigma constant, a penalty would shrink those weights at no cost to the loss,
    sigma would follow, and so on until they vanish. The true gradient of sigma needs the covariance of the data; this one
    takes inputs and units as uncorrelated (``Context.moment``). So it is exact for a common factor of a channel's weights,
    and for a common factor of the activations that they read.
    """
    moment = context.moment(x).flatten(1).mean(1) if x.shape[1:] else context.moment(x)
    deviation = moment.clamp(min=torch.finfo(moment.dtype).tiny).sqrt()
    return deviation / deviation.detach()


@lowers(nn.BatchNorm1d, example=Example(_example, (4,)))
def lower_batch_norm(context: Context, module: nn.BatchNorm1d, x: Symbol) -> Symbol:
    """The batch norm of features or signals with its running statistics, as at evaluation."""
    m = module
    return _normalize(context, x, m.running_mean, m.running_var, m.weight, m.bias, m.eps)


@lowers(nn.BatchNorm2d, example=Example(_images, (1, 4, 4)))
def lower_batch_norm_images(context: Context, module: nn.BatchNorm2d, x: Symbol) -> Symbol:
    """The batch norm of images with its running statistics, as at evaluation."""
    m = module
    return _normalize(context, x, m.running_mean, m.running_var, m.weight, m.bias, m.eps)


@lowers(nn.SyncBatchNorm, example=Example(_synchronised, (1, 4, 4)))
def lower_synchronised_batch_norm(context: Context, module: nn.SyncBatchNorm, x: Symbol) -> Symbol:
    """The batch norm with its running statistics; that processes share those of a batch does not matter at evaluation."""
    m = module
    return _normalize(context, x, m.running_mean, m.running_var, m.weight, m.bias, m.eps)


def _by_instance() -> nn.Module:
    norms = nn.InstanceNorm1d(3, affine=True, track_running_stats=True), nn.InstanceNorm2d(2, track_running_stats=True)
    for norm in norms:
        norm.running_mean, norm.running_var = torch.randn(norm.num_features), torch.rand(norm.num_features) + 0.5
    first, second = norms
    return nn.Sequential(nn.Linear(2, 2), first, nn.ReLU(), nn.Unflatten(1, (1, 3)), nn.Conv2d(1, 2, 2), second)


@lowers(nn.InstanceNorm1d, nn.InstanceNorm2d, example=Example(_by_instance, (3, 2)))
def lower_instance_norm(context: Context, module: nn.InstanceNorm1d, x: Symbol) -> Symbol:
    """The instance norm with running statistics, which is a batch norm at evaluation.

    Raises:
        Refusal: one that uses the statistics of its own input.
    """
    m = module
    if not m.track_running_stats:
        raise Refusal("never", OF_DEVIATION)
    return _normalize(context, x, m.running_mean, m.running_var, m.weight, m.bias, m.eps)


@lowers(F.instance_norm)
def lower_instance_norm_call(
    context: Context,
    input: Symbol,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Symbol:
    """The instance norm with given statistics.

    Raises:
        Refusal: one that uses the statistics of its own input.
    """
    if use_input_stats:
        raise Refusal("never", OF_DEVIATION)
    return _normalize(context, input, running_mean, running_var, weight, bias, eps)


@lowers(F.batch_norm)
def lower_batch_norm_call(
    context: Context,
    input: Symbol,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Symbol:
    """The batch norm with given statistics.

    Raises:
        Refusal: it uses those of the batch, at evaluation or in training mode that was not waived.
    """
    if training:  # networks are traced in evaluation mode
        raise Refusal("settings", "batch norm that uses batch statistics at evaluation; pass training=self.training")
    if context.training:
        why = "it is called by a module in training mode, where training=self.training uses the statistics of each batch; "
        more = "call eval(), which changes nothing where training=False is written, or capture(..., running_statistics=True)"
        raise Refusal("settings", why + more)
    return _normalize(context, input, running_mean, running_var, weight, bias, eps)


class _InstanceCall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.variance = nn.Buffer(torch.randn(2)), nn.Buffer(torch.rand(2) + 0.5)
        self.scale = nn.Parameter(torch.rand(2))

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, self.mean, self.variance, self.scale, use_input_stats=False)


lowers(example=Example(_InstanceCall, (2, 3)))(lower_instance_norm_call)


class _Call(nn.Module):
    """With the weights and statistics of a layer, as networks that share some of them have it."""

    def __init__(self) -> None:
        super().__init__()
        self.of = nn.BatchNorm1d(4, eps=1e-3)
        self.of.running_mean, self.of.running_var = torch.randn(4), torch.rand(4) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        m = self.of
        x = F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, self.training, eps=m.eps)
        return F.batch_norm(torch.relu(x), m.running_mean, m.running_var, training=self.training)


lowers(example=Example(_Call, (4,)))(lower_batch_norm_call)
