"""Convolutional networks against the same networks written out as matrices, through every bound and the exact programs."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from experiments.image_models import alexnet, cnn, vgg16
from lipreg import AllLogits, AllMargins, L2Ball, LinfBall, LocalLipschitz, Margin, capture, certify, estimate
from lipreg.bounds import analyse
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.graph import Graph
from lipreg.linalg import Dense
from lipreg.results import Certificate, Status
from tests.sampling import one_in

MNIST = Path(os.environ.get("LIPREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "mnist"


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.ReLU()),
        *(nn.Conv2d(3, 4, 2, padding="same", groups=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2, stride=1)),
        *(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)),
    ).double()


def written_out(net: nn.Module, shape: tuple[int, ...]) -> nn.Sequential:
    """The same function of the flattened input: every affine stretch as one Linear, found by probing the modules."""
    layers: list[nn.Module] = []
    stretch: list[nn.Module] = []
    size = shape

    def close() -> None:
        nonlocal size
        part = nn.Sequential(*stretch).eval()
        count = math.prod(size)
        with torch.no_grad():
            offset = part(torch.zeros(1, *size, dtype=torch.float64))
            images = part(torch.eye(count, dtype=torch.float64).reshape(count, *size)) - offset
        linear = nn.Linear(count, images[0].numel()).double()
        linear.weight.data, linear.bias.data = images.flatten(1).T.clone(), offset.flatten().clone()
        layers.append(linear)
        size = tuple(images.shape[1:])
        stretch.clear()

    for module in net.children():
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            close()
            layers.append(module)
        else:
            stretch.append(module)
    close()
    return nn.Sequential(*layers)


def twins(seed: int) -> tuple[nn.Module, nn.Module, Tensor]:
    net, shape = small(seed), (2, 5, 5)
    x = torch.rand(2, *shape, dtype=torch.float64)
    twin = written_out(net, shape)
    torch.testing.assert_close(twin(x.flatten(1)), net.eval()(x))
    return net, twin, x


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(2)
def test_every_bound_is_that_of_the_written_out_network(scope: str, p: float) -> None:
    net, twin, x = twins(1)
    assert not any(isinstance(map, Dense) for map in capture(net, x).frozen().nodes[1].maps)
    problem = LocalLipschitz(L2Ball(0.2, low=0.0, high=1.0), AllMargins(0), scope=scope, p=p)
    for name, estimator in ESTIMATORS.items():
        if estimator.certificate is not Certificate.UPPER or estimator.uncovered(problem) or estimator.searches:
            continue
        ours = certify(net, problem, x, estimator=name)
        other = certify(twin, problem, x.flatten(1), estimator=name)
        for a, b in zip(ours, other, strict=True):
            assert a.upper == pytest.approx(b.upper, rel=2e-5), name
        if estimator.differentiable:
            torch.testing.assert_close(
                estimate(net, problem, x, bound=name),
                estimate(twin, problem, x.flatten(1), bound=name),
                rtol=1e-6,
                atol=0,
            )


def test_gradients_of_penalties_reach_the_kernels() -> None:
    net, _, x = twins(2)
    problem = LocalLipschitz(LinfBall(0.1), AllMargins(0), scope="pointed", p=2)
    estimate(net, problem, x, bound="affine_relu").sum().backward()
    for name, parameter in net.named_parameters():
        # the last bias moves no difference of outputs
        assert name == "9.bias" or (parameter.grad is not None and torch.isfinite(parameter.grad).all()), name
    assert net[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("estimator", ["lp", "mip"])
@pytest.mark.parametrize("p", [1.0, math.inf], ids=["p1", "pinf"])
def test_exact_programs_take_convolutions(estimator: str, p: float) -> None:
    net, twin, x = twins(3)
    problem = LocalLipschitz(LinfBall(0.05), Margin(0, 1), p=p)
    ours = certify(net, problem, x, estimator=estimator, budget=Budget(600.0))
    other = certify(twin, problem, x.flatten(1), estimator=estimator, budget=Budget(600.0))
    for a, b in zip(ours, other, strict=True):
        assert a.upper == pytest.approx(b.upper, rel=1e-5)
        if estimator == "mip":
            assert a.certificate is Certificate.EXACT and a.status is Status.PROVED


def test_exact_pointed_constants_of_convolutions() -> None:
    net, twin, x = twins(4)
    problem = LocalLipschitz(LinfBall(0.05), Margin(0, 1), scope="pointed")
    (ours, other) = (
        certify(n, problem, points[:1], estimator="mip_pointed")[0] for n, points in ((net, x), (twin, x.flatten(1)))
    )
    assert ours.certificate is Certificate.EXACT and ours.upper == pytest.approx(other.upper, rel=1e-5)


def test_networks_without_parameters_in_their_maps_are_told_apart() -> None:
    marks = set()
    for settings in ({"padding": 1}, {"padding": 1, "dilation": 1, "stride": 2}, {"padding": 0}, {"groups": 1}):
        torch.manual_seed(0)
        conv = nn.Conv2d(1, 1, 3, **settings)
        marks.add(capture(nn.Sequential(conv, nn.ReLU(), nn.Flatten()), torch.zeros(1, 1, 7, 7)).frozen().fingerprint())
    assert len(marks) == 3  # no padding is the last two


def images(count: int) -> tuple[Tensor, Tensor]:
    """The first test digits, from MNIST's idx files."""
    import gzip

    if not (MNIST / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"no digits at {MNIST}; set LIPREG_DATA to the folder that holds mnist/")
    pixels = gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x = torch.from_numpy(np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count].copy())
    return x.float() / 255, torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8)[:count].copy()).long()


def test_a_digit_network_is_audited() -> None:
    """Around a test digit at l_inf radius 1/255: every end of the interval is certified, and they nearly meet."""
    torch.manual_seed(0)
    x, y = images(1500)
    net = cnn(width=4)
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    for some in torch.randperm(1400, generator=torch.Generator().manual_seed(0)).repeat(3).split(64):
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[some]), y[some]).backward()
        adam.step()
    problem = LocalLipschitz(LinfBall(1 / 255, low=0.0, high=1.0), Margin())
    analysis = frozen_analysis(net, problem, x[1400:1401], y[1400:1401])
    known = [ESTIMATORS[name].intervals(analysis, Budget())[0] for name in ("random_points", "deviation")]
    (found,) = ESTIMATORS["mip"].intervals(analysis, Budget(300.0, gap=0.03), known=(known[0].intersect(known[1]),))
    assert known[0].lower <= found.lower and found.upper <= known[1].upper
    assert found.gap <= 0.03 and "1 program, " in found.detail, "the program closes more than what was known leaves"


@pytest.mark.parametrize(("build", "parameters"), [(alexnet, 61_100_840), (vgg16, 138_357_544)])
def test_large_models_have_torchvisions_shapes(build, parameters: int) -> None:
    with torch.device("meta"):
        net = build()
        assert net(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert "features.0.weight" in net.state_dict() and f"classifier.{len(net.classifier) - 1}.bias" in net.state_dict()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_bounds_follow_the_device() -> None:
    net, _, x = twins(1)
    problem = LocalLipschitz(L2Ball(0.2), AllLogits(), scope="pointed", p=2)
    here = estimate(net, problem, x, bound="affine_relu")
    there = estimate(net.cuda(), problem, x.cuda(), bound="affine_relu")
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=1e-6, atol=0)


def test_a_live_graph_is_single_precision_and_batched() -> None:
    net = cnn(width=4)
    x = torch.rand(3, 1, 28, 28)
    graph = capture(net, x).live()
    assert isinstance(graph, Graph)
    problem = LocalLipschitz(L2Ball(0.1), AllMargins(0), scope="pointed", p=2)
    analysis = analyse(graph, problem.place(x, graph(x)), ("ball", "interval"))
    bound = ESTIMATORS["affine_relu"].bound(analysis)  # type: ignore[attr-defined]
    assert bound.shape == (3,) and bound.dtype == torch.float32
    bound.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert net[0].weight.grad is not None
