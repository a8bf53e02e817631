"""Figures that a rescaling does not move: of logits, and of layers against each other; and what no figure can be made of."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg import AllMargins, LinfBall, LocalLipschitz, Logit, Margin, Points
from lipreg.errors import InvalidInput
from lipreg.transfer import CalibratedMovement, Comparison, Interval, median_of

PROBLEM = LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0), AllMargins())


def data(points: int, seed: int, noise: float = 0.15) -> tuple[Tensor, Tensor]:
    """Three classes around three centres, which overlap."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (points,), generator=generator)
    centres = torch.tensor([[0.3, 0.3, 0.5], [0.7, 0.4, 0.5], [0.5, 0.7, 0.4]])
    x = (centres[y] + noise * torch.randn(points, 3, generator=generator)).clamp(0, 1)
    return x, y


def trained(seed: int, epochs: int = 60) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = data(200, 100 + seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.double()


@pytest.fixture(scope="module")
def nets() -> tuple[nn.Sequential, nn.Sequential]:
    return trained(0, epochs=25), trained(1)


AUDITED, HELD_OUT = data(5, 7, 0.05), data(400, 8)


def compared(net: nn.Module, twin: nn.Module, problem: LocalLipschitz = PROBLEM) -> Comparison:
    return lipreg.compare(net, twin, problem, *AUDITED, estimators=["branch_and_bound"], calibration=HELD_OUT)


def logits_by(factor: float) -> Callable[[nn.Sequential], None]:
    def change(net: nn.Sequential) -> None:
        with torch.no_grad():
            net[4].weight.mul_(factor)
            net[4].bias.mul_(factor)

    return change


def layers_by(factor: float) -> Callable[[nn.Sequential], None]:
    def change(net: nn.Sequential) -> None:
        with torch.no_grad():
            net[0].weight.mul_(factor)
            net[0].bias.mul_(factor)
            net[2].weight.div_(factor)

    return change


def shifted(net: nn.Sequential) -> None:
    with torch.no_grad():
        net[4].bias.add_(3.0)


def changed(net: nn.Sequential, change: Callable[[nn.Sequential], None]) -> nn.Sequential:
    other = copy.deepcopy(net)
    change(other)
    return other


def same(one: Interval | None, other: Interval | None) -> bool:
    assert one is not None and other is not None
    return one.lower == pytest.approx(other.lower, rel=1e-4) and one.upper == pytest.approx(other.upper, rel=1e-4)


@pytest.mark.parametrize("change", [logits_by(0.01), logits_by(100.0), layers_by(7.0), layers_by(0.2), shifted])
def test_a_rescaled_twin_has_not_moved(nets: tuple[nn.Sequential, nn.Sequential], change: Callable) -> None:
    twin = nets[1]
    found = compared(changed(twin, change), twin)
    mine, plain, moved = found.regularised, found.twin, found.calibrated
    assert same(mine.margin_over_constant, plain.margin_over_constant) and found.margin_ratio is not None
    assert found.margin_ratio.lower == pytest.approx(1.0, rel=1e-4)
    assert same(mine.calibrated, plain.calibrated)
    assert (mine.certified, mine.certified_closed, mine.attacked) == (
        plain.certified,
        plain.certified_closed,
        plain.attacked,
    )
    assert moved.movement.combined is not None and moved.movement.combined.lower == pytest.approx(1.0, rel=1e-4)
    assert (moved.movement.transfer is None and "within the noise" in moved.movement.note) or "nothing to pass on" in (
        moved.movement.note
    )
    assert moved.worse == () and moved.noise < 1e-6  # both T are fitted to the same points


@pytest.mark.parametrize("change", [logits_by(0.01), layers_by(7.0)])
def test_a_rescaled_run_moves_as_it_does_without(nets: tuple[nn.Sequential, nn.Sequential], change: Callable) -> None:
    net, twin = nets
    plain, found = compared(net, twin), compared(changed(net, change), twin)
    assert plain.margin_ratio is not None and plain.margin_ratio.lower != pytest.approx(1.0, rel=0.02)
    assert same(plain.margin_ratio, found.margin_ratio)
    assert same(plain.calibrated.movement.combined, found.calibrated.movement.combined)
    assert found.calibrated.noise == pytest.approx(plain.calibrated.noise, rel=1e-6)


def test_the_figures_are_those_of_their_formulas(nets: tuple[nn.Sequential, nn.Sequential]) -> None:
    net, twin = nets
    found = compared(net, twin)
    for network, figures in ((net, found.regularised), (twin, found.twin)):
        x, y = AUDITED
        outputs = network(x.double()).detach()
        margins = (outputs.gather(1, y.unsqueeze(1)) - outputs).scatter(1, y.unsqueeze(1), math.inf).amin(1)
        constants = torch.tensor([p.combined.midpoint for p in figures.points])
        quotients = torch.where(margins > 0, margins / constants, 0.0)
        assert figures.margin_over_constant is not None and figures.certified is not None
        assert figures.margin_over_constant.lower == pytest.approx(float(quotients.median()), rel=1e-4)
        assert figures.certified.lower == float((quotients > 0.1).double().mean())
        assert figures.accuracy == float((margins > 0).double().mean())
        assert figures.attacked is not None and figures.certified.upper <= figures.attacked <= figures.accuracy
        assert figures.certified_closed is not None and figures.certified_closed <= figures.certified.lower
        factor = figures.calibration and figures.calibration.factor
        assert factor and figures.calibrated is not None
        assert figures.calibrated.midpoint == pytest.approx(factor * float(constants.mean()), rel=1e-4)
        assert figures.calibrated_bound == pytest.approx(factor * figures.bound)


def test_chance_and_separated_data_leave_the_calibrated_figures_undefined(
    nets: tuple[nn.Sequential, nn.Sequential],
) -> None:
    net, twin = nets
    found = compared(changed(net, logits_by(0.0)), twin)
    assert found.calibrated.movement.combined is None and "no more than chance" in found.calibrated.movement.note
    assert any("accuracy" in sentence for sentence in found.calibrated.worse)
    assert found.regularised.margin_over_constant == Interval(0.0, 0.0) and found.regularised.calibrated is None
    x, y = HELD_OUT[0], twin(HELD_OUT[0].double()).argmax(1)
    told = lipreg.compare(net, twin, PROBLEM, *AUDITED, estimators=["affine_relu"], calibration=(x, y))
    assert "T of the twin is undefined: every point is classified correctly" in told.calibrated.movement.note
    assert told.movement.transfer is not None  # what is raw is as it was


def test_without_points_to_calibrate_with_the_figures_of_margins_are_there(
    nets: tuple[nn.Sequential, nn.Sequential],
) -> None:
    found = lipreg.compare(*nets, PROBLEM, *AUDITED, estimators=["affine_relu"])
    assert found.calibrated == CalibratedMovement(found.calibrated.movement)
    assert "no record tells" in found.calibrated.movement.note and found.margin_ratio is not None


def test_audited_points_calibrate_nothing(nets: tuple[nn.Sequential, nn.Sequential]) -> None:
    x, y = torch.cat([HELD_OUT[0], AUDITED[0][:2]]), torch.cat([HELD_OUT[1], AUDITED[1][:2]])
    with pytest.raises(InvalidInput, match="2 of the points of calibration are audited too"):
        lipreg.compare(*nets, PROBLEM, *AUDITED, calibration=(x, y))
    with pytest.raises(InvalidInput, match="calibration without targets"):
        lipreg.compare(*nets, PROBLEM, *AUDITED, calibration=x)  # type: ignore[arg-type]


def test_regression_that_is_multiplied_is_worse_not_better() -> None:
    problem, (x, _), (held_out, _) = LocalLipschitz(LinfBall(0.1), Logit(0)), AUDITED, HELD_OUT
    torch.manual_seed(0)
    twin = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    other = copy.deepcopy(twin)
    with torch.no_grad():
        y = twin(held_out.double())
        other[2].weight.mul_(0.1)
    found = lipreg.compare(other, twin, problem, x, estimators=["branch_and_bound"], calibration=(held_out, y))
    assert found.calibrated.movement.combined is not None
    assert found.calibrated.movement.combined.upper == pytest.approx(0.1, rel=1e-4)
    assert [sentence for sentence in found.calibrated.worse if "relative squared error" in sentence]
    assert found.regularised.margin_over_constant is None and found.regularised.attacked is None


def test_margins_against_one_rival_certify_nothing_against_the_others() -> None:
    """f_1 is far below; f_2 overtakes f_0 at 0.05. The constant of f_0 - f_1 says nothing of that."""
    net = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])
        net[0].bias.zero_()
        net[2].weight[:] = torch.tensor([[0.0, 0, 0, 0], [0.01, 0, 0, 0], [10.0, 10, 0, 0]])
        net[2].bias[:] = torch.tensor([0.0, -0.5, -0.6])
    x, y = torch.tensor([[0.01]]), torch.tensor([0])
    for output in (Margin(), Margin(0, 1)):
        problem = LocalLipschitz(LinfBall(0.5), output)
        found = lipreg.compare(net, net, problem, x, y, estimators=["fastlip"]).regularised
        assert (found.certified, found.certified_closed, found.margin_over_constant) == (None, None, None)
    found = lipreg.compare(net, net, LocalLipschitz(LinfBall(0.5)), x, y, estimators=["branch_and_bound"]).regularised
    assert found.certified == Interval(0.0, 0.0) and found.attacked == 0.0 and found.margin_over_constant is not None
    assert found.margin_over_constant.lower == pytest.approx(0.05, rel=0.01)


def test_a_bound_of_zero_certifies_without_a_search() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        net[0].bias.fill_(-50.0)
        net[2].bias[:] = torch.tensor([1.0, 0.0])
    found = lipreg.compare(net, net, LocalLipschitz(LinfBall(0.1)), torch.rand(2, 2), torch.tensor([0, 0]))
    assert found.regularised.certified_closed == 1.0 and found.regularised.points[0].closed_by == "affine_relu"


def test_a_median_of_wrong_points_and_points_beyond_is_not_infinite() -> None:
    wrong, beyond = Interval(0.0, 0.0), Interval(math.inf, math.inf)
    assert median_of([wrong, beyond]) == wrong and median_of([wrong, beyond, beyond]) == beyond
    assert median_of([Interval(1.0, 2.0), Interval(3.0, 4.0)]) == Interval(2.0, 3.0)
    assert median_of([wrong, Interval(0.5, math.inf)]) == wrong
    assert median_of([Interval(0.1, 0.2), Interval(0.5, math.inf)]) == Interval(0.1, 0.2)


def test_labels_that_are_to_be_ignored_are_no_part_of_a_calibration(nets: tuple[nn.Sequential, nn.Sequential]) -> None:
    asked = Points(HELD_OUT, ignore_index=2)
    found = lipreg.compare(*nets, PROBLEM, *AUDITED, estimators=["fastlip"], calibration=asked)
    assert found.twin.calibration is not None
    assert found.twin.calibration.points == int((HELD_OUT[1] != 2).sum())
    whole = lipreg.compare(*nets, PROBLEM, *AUDITED, estimators=["fastlip"], calibration=HELD_OUT).twin.calibration
    assert whole is not None and whole.reference != found.twin.calibration.reference
