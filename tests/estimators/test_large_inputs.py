"""Large inputs, small regions: certified figures, and bounds in float32, as training takes them, beside those."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg import AllMargins, L1Ball, L2Ball, LinfBall, LipschitzPenalty, LocalLipschitz, Logit, Vector
from lipreg.outputs import Output
from tests.conformance.questions import sampled
from tests.sampling import one_in

SCALES = {
    "unit": (1.0, 0.05),
    "pixels": (255.0, 1.0),
    "pixels, small": (255.0, 0.05),
    "large": (1e5, 0.2),
    "larger": (1e6, 0.2),
    "tiny": (1.0, 1e-6),
}


def question(
    seed: int, size: int, scale: float, radius: float, cut: bool
) -> tuple[nn.Module, LocalLipschitz, Tensor, Tensor]:
    """A network most of whose first units are barely active somewhere in the region, where rounding decides."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(size, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    region = LinfBall(radius, low=0.0, high=scale) if cut else LinfBall(radius)
    x = scale * torch.rand(1, size)
    if cut:  # every other coordinate on the border of the data range, or a whole number
        x[:, ::2] = x[:, ::2].round()
    placed = region.place(x.double())
    with torch.no_grad():
        weight, middle = net[0].weight.double(), placed.center + (placed.up + placed.down) / 2  # type: ignore[union-attr]
        reach = weight.abs() @ ((placed.up - placed.down) / 2)[0]
        net[0].bias.copy_(-weight @ middle[0] - (0.9 + 0.1 * torch.rand(6).double()) * reach)  # type: ignore[union-attr,operator]
    return net, LocalLipschitz(region, AllMargins()), x.repeat(4, 1), torch.randint(3, (1,)).repeat(4)


def seeds(count: int, name: str) -> list[int]:
    """A third of so many networks, another third for the next of the scales; all with ``make test-all``."""
    return [seed for seed in range(count) if sampled(3, seed, list(SCALES).index(name))]


@pytest.mark.parametrize("cut", [False, True], ids=["open", "cut"])
@pytest.mark.parametrize("size", [4, 100])
@pytest.mark.parametrize("name", SCALES)
@one_in(2)
def test_bounds_in_training_are_not_below_certified_ones(name: str, size: int, cut: bool) -> None:
    """Beyond what the term warns of too: there they may be larger, because rounding is allowed for."""
    scale, radius = SCALES[name]
    ratios = []
    for seed in seeds(12, name):
        net, problem, x, y = question(seed, size, scale, radius, cut)
        term = LipschitzPenalty(net, problem, weight=1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            term(x, y)
        assert term.last is not None
        certified = lipreg.certify(net, problem, x, y, estimator="affine_relu")[0].upper
        ratios.append(float(term.last.bounds[0]) / certified if certified else 1.0)
    assert min(ratios) >= 0.99
    if scale <= 1e4 * radius:
        assert max(ratios) <= 1.01


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("points", [1, 4])
@pytest.mark.parametrize(
    ("output", "bound", "p"),
    [
        (AllMargins(), "affine_relu", math.inf),
        (AllMargins(), "abs_chain", math.inf),
        (AllMargins(), "abs_chain", 2.0),
        (Vector(), "affine_relu", math.inf),
        (AllMargins(), "fastlip", 1.0),
    ],
    ids=str,
)
@one_in(2)
def test_so_are_those_of_few_points_and_of_other_questions(
    output: Output, bound: str, p: float, points: int, name: str
) -> None:
    """Fewer points than classes, whole outputs, other norms: no closed form, or another way into it; and ``estimate``."""
    scale, radius = SCALES[name]
    for seed in seeds(6, name):
        net, asked, x, y = question(seed, 4, scale, radius, cut=False)
        problem, x, y = replace(asked, output=output, p=p), x[:points], y[:points]
        certified = lipreg.certify(net, problem, x, y, estimator=bound)[0].upper
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            term = LipschitzPenalty(net, problem, bound=bound, weight=1.0)
            term(x, y)
        assert term.last is not None
        for found in (term.last.bounds[0], lipreg.estimate(net, problem, x, y, bound=bound)[0]):
            assert float(found) >= 0.99 * certified


@pytest.mark.parametrize(
    ("kind", "reach", "constant"), [(LinfBall, 2.0, 2.0), (L2Ball, 2**0.5, 2**0.5), (L1Ball, 1.0, 1.0)]
)
@pytest.mark.parametrize("share", [0.3, 0.98, 0.998, 1.02])
def test_a_kink_that_only_displacements_can_place(kind: type, reach: float, constant: float, share: float) -> None:
    """relu(x - y - k) about (1.7e9, 1.7e9): x - y can be as large as reach times the radius, which is 41.4 times as large as
    the distance of neighbouring numbers of float64 there. The last of the way no float64 point goes, but real ones do."""
    radius = 41.4 * 2.0**-22
    kink = share * reach * radius
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), ([[1.0, -1.0]], [-kink], [[1.0]], [0.0]), strict=True):
            parameter.copy_(torch.tensor(value))
    x = torch.full((1, 2), 1.7e9, dtype=torch.float64)
    truth = constant if share < 1 else 0.0
    found = lipreg.certify(net, LocalLipschitz(kind(radius), Logit(0)), x)[0]
    assert found.lower <= truth * (1 + 1e-15) and truth <= found.upper
    assert (found.lower > 0) == (share < 0.99), "a witness is a float64 point of X"
