"""Networks so small that their linear pieces can be listed, one or two of each kind."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lipreg.graph import Difference


class Residual(nn.Module):
    """A sum of branches over the same and over different activations, with the input passed on.

    Args:
        inputs, width, outputs: how many inputs, units of each layer and outputs.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, outputs)
        self.skip = nn.Linear(inputs, outputs)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.a(x))
        h = h + self.act2(self.b(h))
        return self.c(h) + self.skip(x)


class Scaled(nn.Module):
    """A network that normalises its input and multiplies by constants on the way.

    Args:
        inputs, width, outputs: how many inputs, units and outputs.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.act = nn.ReLU()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.linspace(-0.2, 0.3, inputs))
        self.register_buffer("std", torch.linspace(0.5, 1.5, inputs))

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(-0.5 * self.a((x - self.mean) / self.std) + 0.1)
        return 1.0 - self.b(3.0 * h) / 2.0


def mlp(*widths: int, negative_slope: float | None = None) -> nn.Sequential:
    """Linear layers of the given widths with a ReLU, or a leaky one, between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU() if negative_slope is None else nn.LeakyReLU(negative_slope)]
    return nn.Sequential(*layers[:-1])


def _batch_norm() -> nn.Module:
    first, second = nn.BatchNorm1d(4), nn.BatchNorm1d(3, affine=False)
    for norm in (first, second):
        norm.running_mean = 0.3 * torch.randn(norm.num_features)
        norm.running_var = 0.5 + torch.rand(norm.num_features)
    nn.init.uniform_(first.weight, -1.5, 1.5)
    nn.init.uniform_(first.bias, -0.3, 0.3)
    return nn.Sequential(nn.Linear(2, 4), first, nn.ReLU(), nn.Linear(4, 3), second, nn.ReLU(), nn.Linear(3, 2))


def _dead_units() -> nn.Module:
    """A network with units that no region turns on, a unit without weights, and one that is always on."""
    net = mlp(2, 5, 4, 3)
    with torch.no_grad():
        first, second, _ = (layer for layer in net if isinstance(layer, nn.Linear))
        first.bias[0], first.bias[1] = -20.0, 20.0
        first.weight[2], first.bias[2] = 0.0, 0.5
        second.bias[3] = -100.0
    return net


ZOO: dict[str, Callable[[], nn.Module]] = {
    "line": lambda: mlp(1, 5, 2),
    "line_deep": lambda: mlp(1, 4, 4, 2),
    "shallow": lambda: mlp(2, 5, 3),
    "deep": lambda: mlp(2, 4, 4, 4, 3),
    "solid": lambda: mlp(3, 4, 3, 2),
    "leaky": lambda: mlp(2, 4, 3, 2, negative_slope=0.2),
    "residual": lambda: Residual(2, 4, 2),
    "batch_norm": _batch_norm,
    "scaled": lambda: Scaled(2, 5, 2),
    "dead_units": _dead_units,
    "affine": lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)),
}


class Pooled(nn.Module):
    """Max pooling of neighbours as a layer, or written out by ReLUs: max(a, b) = b + relu(a - b).

    Args:
        stride: of the pool's windows of two: 1 or 2.
        written_out: whether ReLUs stand in the place of the pool.
    """

    def __init__(self, stride: int = 1, written_out: bool = False) -> None:
        super().__init__()
        self.a, self.act1, self.act2 = nn.Linear(2, 4), nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool1d(2, stride=stride)
        self.b = nn.Linear(4 // stride if stride == 2 else 3, 3)
        self.stride, self.written_out = stride, written_out

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.a(x))
        if not self.written_out:
            return self.b(self.pool(h))
        first = h[:, :-1][:, :: self.stride]
        second = h[:, 1:][:, :: self.stride]
        return self.b(second + self.act2(first - second))


class Compared(nn.Module):
    """Sorted entries, magnitudes and a leaky ReLU of negative slope -1/2, as torch has them or written out by ReLUs.

    Args:
        written_out: whether ReLUs stand in the place of these operations.
    """

    def __init__(self, written_out: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 4), nn.Linear(4, 3), nn.Linear(3, 2)
        self.written_out = written_out

    def forward(self, x: Tensor) -> Tensor:
        z = self.a(x)
        if not self.written_out:
            z = self.b(torch.sort(z.reshape(-1, 2, 2), 2)[0].flatten(1))
            z = torch.cat([z[:, :1].abs(), torch.minimum(z[:, 1:2], z[:, :1]), z[:, 2:]], 1)
            return nn.functional.leaky_relu(self.c(z), -0.5)
        rise = torch.relu(z[:, 1::2] - z[:, ::2])
        z = self.b(torch.stack([z[:, 1::2] - rise, z[:, ::2] + rise], 2).flatten(1))
        less = z[:, :1] - torch.relu(z[:, :1] - z[:, 1:2])
        z = self.c(torch.cat([2.0 * torch.relu(z[:, :1]) - z[:, :1], less, z[:, 2:]], 1))
        return 1.5 * torch.relu(z) - 0.5 * z


def _convolution() -> nn.Module:
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Conv1d(2, 2, 2), nn.ReLU(), nn.Flatten()),
        nn.Linear(2, 2),
    )


def _weak_branch() -> nn.Module:
    """A residual network whose branch hardly counts: a product along it is far below the constant."""
    net = Residual(2, 4, 2)
    with torch.no_grad():
        net.b.weight.mul_(0.02)
    return net


def _difference() -> nn.Module:
    """A network minus itself with other weights: units whose values differ a little, and one that is cut off."""
    first, second = mlp(2, 3, 2, 2), mlp(2, 3, 2, 2)
    with torch.no_grad():
        for parameter, other in zip(second.parameters(), first.parameters(), strict=True):
            parameter.copy_(other * (1.0 + 0.3 * torch.randn_like(other)))
        second.get_parameter("2.weight")[0] = 0.0
    return Difference(first, second)


class Mixed(nn.Module):
    """Curves and a ReLU in branches."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.act1, self.act2, self.act3 = nn.GELU(), nn.ReLU(), nn.Softplus()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.a(x))
        return self.c(h + self.act2(self.b(h)) + self.act3(h))


SMOOTH: dict[str, Callable[[], nn.Module]] = {
    "curved_line": lambda: nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 3), nn.SiLU(), nn.Linear(3, 2)),
    "curved": lambda: nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 3), nn.SELU(), nn.Linear(3, 2)),
    "curved_mixed": Mixed,
}
"""Networks that have no linear pieces to list: the best of many points stands below their constants."""

JUDGED: dict[str, Callable[[], nn.Module]] = ZOO | {
    "weak_branch": _weak_branch,
    "convolution": _convolution,
    "pooled": Pooled,
    "pooled_apart": lambda: Pooled(2),
    "compared": Compared,
    "difference": _difference,
}
"""The zoo, a branch that hardly counts, a convolution, max pools whose windows overlap or do not, comparisons, and two
networks."""
EVERY = JUDGED | SMOOTH
"""Also those that nothing lists."""


def network(name: str, seed: int = 0) -> nn.Module:
    """A network of ``EVERY`` in float64 and evaluation mode, with kinks throughout the regions of questions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + sum(map(ord, name)))
        net = EVERY[name]()
        for module in net.modules():
            if isinstance(module, nn.Linear):  # the default weights leave half of the units unstable by no region
                module.weight.data.mul_(1.8)
    return net.double().eval()


def input_size(net: nn.Module) -> int:
    """The number of inputs of a network of ``EVERY``."""
    first = next(m for m in net.modules() if isinstance(m, nn.Linear | nn.Unflatten))
    return first.in_features if isinstance(first, nn.Linear) else math.prod(first.unflattened_size)


def written_out(net: nn.Module) -> nn.Module:
    """The same function without max pools: what the enumeration reads."""
    if not isinstance(net, Pooled | Compared):
        return net
    twin = (Pooled(net.stride, True) if isinstance(net, Pooled) else Compared(True)).double().eval()
    twin.load_state_dict(net.state_dict())
    return twin
