"""Questions of a size at which searches do not end at once: trained convolutions, and a hundred unstable units and more.

- Six digits around which a small convolutional network is audited (``benchmarks.conv audits``), 120 CPU seconds each.
- The seven searches of ``benchmarks.scale`` with 105 to 161 unstable units, 20,000 nodes each.
- cifar_base_kw (OVAL) and mnist-net_256x2 (VNN-COMP), the largest of ten logits.
- Four networks trained for comparison with auto_LiRPA's bound on the Jacobian.

Weights are beside those of ``benchmarks.published``; images in the folder that LIPREG_DATA names, else in ../shared/data.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.conv import AVANT, digits, trained_on_digits
from benchmarks.published import Asked, Published, folder, tensors
from benchmarks.scale import trained
from lipreg import AllLogits, AllMargins, LinfBall, LocalLipschitz, Logit, Margin
from lipreg.budget import Budget

SECONDS = 60.0
CIFAR = (0.4914, 0.4822, 0.4465), 0.2009
"""Means and standard deviation by which the networks trained for comparison have their input normalised."""
OVAL = (0.485, 0.456, 0.406), 0.225
"""The same of cifar_base_kw."""
UNSTABLE = {0.08: (3, 4), 0.12: (0, 1, 2, 3, 4)}
"""The radii and points of width 128 at which ``benchmarks.scale`` counts 105 to 161 unstable units."""


def at_size() -> Iterator[Asked]:
    """All of them, the quick ones first."""
    yield from mnist_256x2()
    yield from cifar_base()
    yield from compared()
    yield from audits()
    yield from unstable()


def audits(points: int = 6) -> Iterator[Asked]:
    """Margins to the runner-up around test digits, l_inf radius 1/255."""
    net, (x, y) = trained_on_digits(), digits("t10k")
    problem = LocalLipschitz(LinfBall(1 / 255, low=0.0, high=1.0), Margin())
    for i in range(points):
        yield Asked("audit", net, problem, x[i : i + 1], f"digit {i}", y=y[i : i + 1], budget=Budget(120.0))


def unstable() -> Iterator[Asked]:
    """All margins around digits of 8 x 8 pixels, 64-128-128-10."""
    net, x, y = trained(128)
    for radius, points in UNSTABLE.items():
        problem = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0), AllMargins())
        for i in points:
            name, budget = f"64-128-128-10, {radius:g}", Budget(3600.0, 20_000)
            yield Asked(name, net, problem, x[i : i + 1], f"digit {i}", y=y[i : i + 1], budget=budget)


def mnist_256x2() -> Iterator[Asked]:
    """VNN-COMP's mnist-net_256x2 at the first test digit."""
    weights = tensors(folder() / "onnx" / "mnist-net_256x2.onnx")
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    layers = [module for module in net if isinstance(module, nn.Linear)]
    for layer, k in zip(layers, (0, 2, 4), strict=True):
        layer.load_state_dict({part: torch.tensor(weights[f"layers.{k}.{part}"]) for part in ("weight", "bias")})
    for words in ("1/255", "0.01", "0.03"):
        problem = LocalLipschitz(LinfBall(float(Fraction(words))), AllLogits())
        yield Asked("mnist-net_256x2", net.double(), problem, digits("t10k")[0][:1].double(), words)


def cifar_base() -> Iterator[Asked]:
    """OVAL's cifar_base_kw at the first test image."""
    weights = tensors(folder() / "onnx" / "cifar_base_kw.onnx")
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(1024, 100), nn.ReLU(), nn.Linear(100, 10)),
    )
    net.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    problem, known = LocalLipschitz(LinfBall(1 / 255 / OVAL[1]), AllLogits()), (0.0, 16.568)
    yield Asked("cifar_base_kw", net.double(), problem, image(*OVAL), "1/255", known)


def compared() -> Iterator[Asked]:
    """Networks trained for comparison with auto_LiRPA 0.7.1, whose bound on the Jacobian is the upper end known."""
    dense = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    digit, picture = digits("t10k")[0][:1].double(), image(*CIFAR)
    for radius, upper in ((4 / 255, 300.977), (8 / 255, 501.624)):
        problem, words = LocalLipschitz(LinfBall(radius), AllLogits()), f"{round(255 * radius)}/255"
        yield Asked("mnist_mlp100", _compared("mnist_mlp100", dense), problem, digit, words, (0.0, upper))
    for name, shape, x, radius, logit, upper in (
        ("mnist_cnn", (1, 8, 4, 3872, 100), digit, 1 / 255, 7, 166.004),
        ("cifar_demo", (3, 4, 3, 3136, 32), picture, 1 / 255 / CIFAR[1], 3, 11.183),
        ("cifar_cnn4", (3, 32, 3, 25088, 256), picture, 1 / 255 / CIFAR[1], 3, 48.841),
    ):
        problem = LocalLipschitz(LinfBall(radius), Logit(logit))
        yield Asked(name, _compared(name, _convolutions(*shape)), problem, x, "1/255", (0.0, upper))


def _compared(name: str, net: nn.Sequential) -> nn.Module:
    net.load_state_dict(torch.load(folder() / "trained" / f"{name}.pt", weights_only=True))
    return net.double()


def _convolutions(channels: int, width: int, kernel: int, flat: int, units: int) -> nn.Sequential:
    first, second = nn.Conv2d(channels, width, kernel), nn.Conv2d(width, width, kernel)
    dense = nn.Linear(flat, units), nn.ReLU(), nn.Linear(units, 10)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), *dense)


def image(mean: tuple[float, float, float], width: float) -> Tensor:
    """``(1, 3, 32, 32)``: CIFAR-10's first test image, normalised."""
    with lzma.open(AVANT.parent / "cifar10" / "test_batch.bin.xz") as batch:  # a label, then the pixels of each
        pixels = np.frombuffer(batch.read(1 + 3 * 32 * 32), np.uint8)[1:].reshape(1, 3, 32, 32)
    return (torch.tensor(pixels.astype(np.float64)) / 255 - torch.tensor(mean).double().view(3, 1, 1)) / width


SIZE = Published("at size", at_size, SECONDS, apart=True)
