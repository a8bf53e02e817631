"""Fingerprints: networks that differ in one thing have different ones, equal networks the same, in every process."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg import LinfBall, LocalLipschitz, Vector, certify
from lipreg.errors import IncomparableResults
from lipreg.graph import capture

IMAGE = (2, 5, 5)


def weights(net: nn.Module) -> nn.Module:
    """Every parameter counts up from its start, so that layers of one size have the same entries in memory."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.arange(1.0, 1 + parameter.numel()).reshape(parameter.shape) / parameter.numel())
    return net.double().eval()


def headed(layer: nn.Module, *more: nn.Module) -> nn.Module:
    """A layer on images, flattened, with a head that is as large as it has to be."""
    size = layer.double()(torch.zeros(1, *IMAGE, dtype=torch.float64)).numel()
    return weights(nn.Sequential(layer, nn.Flatten(), *(more or (nn.ReLU(),)), nn.Linear(size, 2)))


class Branches(nn.Module):
    """Two layers of one size, in a chain or side by side."""

    def __init__(self, together: Callable[[nn.Module, nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.together = nn.Linear(50, 50), nn.Linear(50, 50), together

    def forward(self, x: Tensor) -> Tensor:
        return self.together(self.a, self.b, x.flatten(1))


def conv(*kernel: int, **more: object) -> nn.Module:
    return headed(nn.Conv2d(2, more.pop("out", 2), kernel or 3, **more))  # type: ignore[arg-type]


def back(**more: object) -> nn.Module:
    return headed(nn.ConvTranspose2d(2, 2, 2, **{"stride": 2, **more}))  # type: ignore[arg-type]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "kernel 2 x 3": lambda: conv(2, 3, stride=2),
    "kernel 3 x 2": lambda: conv(3, 2, stride=2),
    "kernel 2 x 3, stride 1": lambda: conv(2, 3),
    "kernel 3 x 2, stride 1": lambda: conv(3, 2),
    "padding": lambda: conv(padding=1),
    "padding of the other axis": lambda: conv(padding=(1, 0)),
    "padding mode circular": lambda: conv(padding=1, padding_mode="circular"),
    "padding mode reflect": lambda: conv(padding=1, padding_mode="reflect"),
    "padding mode replicate": lambda: conv(padding=1, padding_mode="replicate"),
    "stride": lambda: conv(padding=1, stride=2),
    "stride of one axis": lambda: conv(padding=1, stride=(2, 1)),
    "stride of the other axis": lambda: conv(padding=1, stride=(1, 2)),
    "dilation": lambda: conv(padding=2, dilation=2),
    "dilation of one axis": lambda: conv(padding=(2, 1), dilation=(2, 1)),
    "groups": lambda: conv(padding=1, groups=2, out=4),
    "no groups, as many weights": lambda: headed(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()),
    "transposed": lambda: back(),
    "transposed, output padding": lambda: back(output_padding=1),
    "transposed, output padding of one axis": lambda: back(output_padding=(1, 0)),
    "transposed, groups": lambda: back(groups=2),
    "transposed, dilation": lambda: back(dilation=2),
    "leaky": lambda: headed(nn.Conv2d(2, 2, 3), nn.LeakyReLU(0.1)),
    "leakier": lambda: headed(nn.Conv2d(2, 2, 3), nn.LeakyReLU(0.1 + 1e-15)),
    "no activation": lambda: headed(nn.Conv2d(2, 2, 3), nn.Identity()),
    "max pool": lambda: headed(nn.MaxPool2d(2), nn.Identity()),
    "max pool 1 x 4": lambda: headed(nn.MaxPool2d((1, 4)), nn.Identity()),
    "max pool 4 x 1": lambda: headed(nn.MaxPool2d((4, 1)), nn.Identity()),
    "average pool 1 x 4": lambda: headed(nn.AvgPool2d((1, 4))),
    "average pool 4 x 1": lambda: headed(nn.AvgPool2d((4, 1))),
    "chain": lambda: weights(Branches(lambda a, b, x: b(torch.relu(a(x))))),
    "sum": lambda: weights(Branches(lambda a, b, x: b(x) + torch.relu(a(x)))),
    "both from one": lambda: weights(Branches(lambda a, b, x: b(torch.relu(a(x))) + a(torch.relu(a(x))))),
    "relu twice": lambda: weights(Branches(lambda a, b, x: torch.relu(b(torch.relu(a(x)))))),
}
"""Neighbours differ in one setting; where that does not change the sizes, all numbers in memory are the same."""


def fingerprint(net: nn.Module) -> str:
    return capture(net, torch.zeros(1, *IMAGE, dtype=torch.float64)).frozen().fingerprint()


def fingerprints() -> dict[str, str]:
    return {name: fingerprint(make()) for name, make in NETWORKS.items()}


def test_one_difference_is_a_difference_and_none_is_none() -> None:
    found = fingerprints()
    collisions = [(a, b) for a, b in itertools.combinations(found, 2) if found[a] == found[b]]
    assert collisions == [("padding", "no groups, as many weights")], "the one network that is there twice"
    for make in NETWORKS.values():
        net = make()
        before = fingerprint(net)
        with torch.no_grad():
            list(net.parameters())[-1][0] += 1e-6
        assert fingerprint(net) != before


def test_they_are_the_same_in_another_process() -> None:
    program = "from tests.test_fingerprints import fingerprints; print(fingerprints())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600)
    assert told.stdout.strip() == str(fingerprints())


def test_intervals_of_two_kernels_of_one_size_do_not_meet() -> None:
    """Both have six taps a channel, the same numbers in memory and outputs of one size."""
    x, problem = torch.zeros(1, *IMAGE, dtype=torch.float64), LocalLipschitz(LinfBall(0.1), Vector(), p=1.0, q=1.0)
    one, two = (
        certify(NETWORKS[name](), problem, x, estimator="fastlip")[0] for name in ("kernel 2 x 3", "kernel 3 x 2")
    )
    with pytest.raises(IncomparableResults):
        one.intersect(two)
