"""Bounds by windows against bounds by whole images, on networks of every kind; and against points."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg import AllLogits, L2Ball, LinfBall, LocalLipschitz, estimate
from lipreg.bounds import Analysis, crown
from lipreg.bounds.jacobian_relaxation import linear_jacobian
from lipreg.bounds.lines import Lines, relax
from lipreg.bounds.pooling import relax_pool
from lipreg.bounds.unit_bounds import _windows
from lipreg.estimators import frozen_analysis

WINDOWS, WHOLE = 0, 10**18
"""Numbers up to which rows are carried whole."""


class Residual(nn.Module):
    """A stem, a branch that keeps the size, one that halves it beside a strided projection, batch norm, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.c, self.project = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 4, 1, stride=2)
        self.end = nn.Linear(4, 3)
        self.norm.running_mean, self.norm.running_var = torch.tensor([0.1, -0.1, 0.0]), torch.tensor([0.5, 0.3, 0.4])

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.stem(x)))
        h = torch.relu(h + self.b(torch.relu(self.a(h))))
        h = torch.relu(self.c(h) + self.project(h))
        return self.end(h.mean((2, 3)))


def sequence(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (2, 9, 8)),
    "strides": (lambda: sequence(nn.Conv2d(1, 3, 4, 2, 1), nn.ReLU(), nn.Conv2d(3, 4, (2, 3), (1, 2), (0, 2)), nn.ReLU(),
                                 nn.Flatten(), nn.Linear(64, 3)), (1, 10, 12)),
    "dilated": (lambda: sequence(nn.Conv2d(2, 4, 3, dilation=2, padding=2), nn.LeakyReLU(0.1),
                                 nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                                 nn.Linear(64, 3)), (2, 8, 8)),
    "pools": (lambda: sequence(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Conv2d(3, 3, 3),
                               nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)), (1, 12, 12)),
    "transposed": (lambda: sequence(nn.Conv2d(1, 3, 3, 2), nn.ReLU(), nn.ConvTranspose2d(3, 2, 3, 2), nn.ReLU(),
                                    nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(),
                                    nn.Linear(512, 3)), (1, 9, 9)),
    "signals": (lambda: sequence(nn.Conv1d(2, 3, 5, 2, 2), nn.ReLU(), nn.Conv1d(3, 3, 3), nn.ReLU(),
                                 nn.ConstantPad1d(1, 0.3), nn.Conv1d(3, 2, 3), nn.ReLU(), nn.Flatten(),
                                 nn.Linear(20, 3)), (2, 24)),
    "images out": (lambda: sequence(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 3), nn.Flatten()), (1, 5, 6)),
}  # fmt: skip


def made(name: str, batch: int = 2) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(4)
    make, shape = NETS[name]
    return make().double().eval(), torch.rand(batch, *shape, dtype=torch.float64)


def analysis_of(name: str, region: object, batch: int = 2) -> Analysis:
    net, x = made(name, batch)
    return frozen_analysis(net, LocalLipschitz(region, AllLogits()), x, None)


@pytest.fixture
def carry(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says up to how many numbers rows are carried whole; every part is small."""

    def set_to(numbers: int) -> None:
        for name, value in (("SMALL", numbers), ("IMAGE", numbers), ("PASS_NUMBERS", 2**16)):
            monkeypatch.setattr(f"lipreg.bounds.unit_bounds.{name}", value)

    return set_to


@pytest.mark.parametrize("name", NETS)
def test_windows_bound_as_whole_images_do(name: str, carry: Callable[[int], None]) -> None:
    for region in (LinfBall(0.1, low=0.0, high=1.0), L2Ball(0.3))[: 2 if name == "residual" else 1]:
        found = []
        for numbers in (WINDOWS, WHOLE):
            carry(numbers)
            analysis = analysis_of(name, region)
            graph, placed = analysis.graph, analysis.placed.region
            lines = _lines(analysis)
            ends = [crown(graph, i, analysis.anchors, lines, placed) for i, _ in graph.affines()]
            jacobian = linear_jacobian(analysis)
            found.append([end for pair in (*ends, *jacobian.bounds.values()) for end in pair] + [jacobian.row_norms()])
        for windows, whole in zip(*found, strict=True):
            torch.testing.assert_close(windows, whole, rtol=1e-10, atol=1e-11)


def _lines(analysis: Analysis) -> dict[int, Lines]:
    """The lines of every ReLU and pool, from the bounds of the analysis."""
    graph = analysis.graph
    reach = {i: analysis.value_bounds[node.source] for i, node in (*graph.relus(), *graph.pools())}
    lines = {i: relax(reach[i].lower, reach[i].upper, node.slope) for i, node in graph.relus()}
    return lines | {i: relax_pool(node, reach[i].lower, reach[i].upper) for i, node in graph.pools()}


@pytest.mark.parametrize("name", ["residual", "strides", "pools", "signals"])
def test_gradients_of_both_are_the_same(name: str, carry: Callable[[int], None]) -> None:
    net, x = made(name)
    grads = []
    for numbers in (WINDOWS, WHOLE):
        carry(numbers)
        net.zero_grad()
        estimate(net, LocalLipschitz(LinfBall(0.1), AllLogits()), x, bound="jacobian_crown").sum().backward()
        grads.append([parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None])
    assert grads[0]
    for windows, whole in zip(*grads, strict=True):
        torch.testing.assert_close(windows, whole, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["residual", "strides", "dilated"])
def test_points_stay_within_windows_bounds_and_a_batch_is_its_points(name: str, carry: Callable[[int], None]) -> None:
    carry(WINDOWS)
    analysis = analysis_of(name, LinfBall(0.2))
    graph, region = analysis.graph, analysis.placed.region
    lines = _lines(analysis)
    points = region.sample(50, torch.Generator().manual_seed(0))
    for index, node in graph.affines():
        low, high = crown(graph, index, analysis.anchors, lines, region)
        for i in range(2):
            values = graph.values(points[i])[index]
            assert (values >= low[i] - 1e-12).all() and (values <= high[i] + 1e-12).all(), (index, node.shape)
    whole, alone = linear_jacobian(analysis), linear_jacobian(analysis[1:])
    torch.testing.assert_close(whole.row_norms()[1:], alone.row_norms(), rtol=1e-10, atol=1e-10)


def test_rows_share_windows_where_that_carries_few_more() -> None:
    """Every entry that is wanted is there once; each window's rows are of one place; points want different ones."""
    wanted = torch.rand(3, 20, 8, generator=torch.Generator().manual_seed(1))
    for share, most in ((0.95, 8), (0.95, 3), (0.3, 8)):
        chosen = wanted < share
        slots = int(chosen.flatten(1).sum(-1).amax())
        places, channels = _windows(chosen, slots, most)
        units = places.unsqueeze(-1) * 8 + channels
        assert channels.shape[2] <= most and (channels.shape[2] > 1) == (share > 0.5)
        for point, ours in zip(chosen, units, strict=True):
            assert ours.unique().numel() == ours.numel()
            assert set(point.flatten().nonzero().flatten().tolist()) <= set(ours.flatten().tolist())
