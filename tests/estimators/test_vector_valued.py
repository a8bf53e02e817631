"""Vector-valued constants on random networks, against the enumeration of all activation cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify, frozen_analysis
from lipreg.estimators.exact import mip
from lipreg.milp import FunctionalFamily, Highs, encode, families
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.conformance.questions import EVERYTHING, sampled
from tests.sampling import one_in

RADIUS = 0.8
BUDGET = Budget(600.0)
SHAPES = ((2, 4, 3), (2, 3, 3, 3), (3, 4, 2), (2, 3, 2, 2, 3))


def random_network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = oracles.mlp(*SHAPES[seed % len(SHAPES)])
        for module in net.modules():
            if isinstance(module, nn.Linear):
                module.weight.data.mul_(1.8)
    return net.double().eval()


def point(net: nn.Module, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, oracles.input_size(net), generator=generator, dtype=torch.float64) - 0.5


def asked(kind: str, outputs: int) -> tuple[Output, np.ndarray | None, float | None]:
    """The functional, its rows written out, and q."""
    eye = np.eye(outputs)
    match kind:
        case "logits":
            return AllLogits(), eye, None
        case "targeted":
            return AllMargins(1), np.array([eye[1] - eye[j] for j in range(outputs) if j != 1]), None
        case "pairs":
            return AllPairs(), np.array([eye[i] - eye[j] for i in range(outputs) for j in range(i)]), None
        case "into_linf":
            return Vector(), None, math.inf
        case _:
            return Vector(), None, 1.0


def ask(net: nn.Module, x: torch.Tensor, kind: str, p: float, scope: str = "regional") -> CertifiedInterval:
    output, _, q = asked(kind, net[-1].out_features)  # type: ignore[index]
    problem = LocalLipschitz(LinfBall(RADIUS), output, scope, p, q)  # type: ignore[arg-type]
    name = "mip" if scope == "regional" else "mip_pointed"
    (interval,) = certify(net, problem, x, estimator=name, budget=BUDGET)
    return interval


KINDS = ("logits", "targeted", "pairs", "into_linf", "into_l1")


# each shape twice, once in each norm
SEEDS = [
    seed
    for seed in range(100)
    if EVERYTHING or (seed < 4 * len(SHAPES) and sampled(2, seed, seed // (2 * len(SHAPES))))
]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_form_is_the_enumeration(seed: int) -> None:
    net = random_network(seed)
    x = point(net, seed)
    x0 = x[0].numpy()
    domain = oracles.Domain(x0, x0 - RADIUS, x0 + RADIUS)
    cells = oracles.cells(net, domain)
    p = (1.0, math.inf)[seed // len(SHAPES) % 2]
    for kind in KINDS:
        _, rows, q = asked(kind, net[-1].out_features)
        truth = oracles.regional(cells, rows, p, q)
        interval = ask(net, x, kind, p)
        assert interval.certificate is Certificate.EXACT, (kind, p, interval)
        assert interval.lower <= truth * (1 + 1e-9), (kind, p)
        assert interval.upper >= truth * (1 - 1e-9), (kind, p)
    # the pointed constant of one form, in turn: the enumeration's, below every bound and below the regional constant
    kind = KINDS[seed % len(KINDS)]
    output, rows, q = asked(kind, net[-1].out_features)
    pointed = ask(net, x, kind, p, "pointed")
    assert pointed.certificate is Certificate.EXACT
    truth = oracles.quotients(net, domain, oracles.candidates(cells, domain, p), rows, p, q).max()
    assert pointed.lower == pytest.approx(truth, rel=1e-5)
    assert pointed.upper >= truth * (1 - 1e-9)
    assert pointed.lower >= oracles.sampled_pointed(net, domain, rows, p, q, count=1000) * (1 - 1e-9)
    problem = LocalLipschitz(LinfBall(RADIUS), output, "pointed", p, q)  # type: ignore[arg-type]
    for bound in ("affine_relu", "abs_chain", "fastlip"):
        assert pointed.lower <= certify(net, problem, x, estimator=bound)[0].upper * (1 + 1e-9)
    assert pointed.lower <= ask(net, x, kind, p).upper * (1 + 1e-9)


@pytest.mark.parametrize("p", [1.0, math.inf])
@pytest.mark.parametrize("kind", ["logits", "targeted", "pairs"])
@one_in(2)
def test_one_program_with_selection_binaries_is_one_program_each(
    kind: str, p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6 if EVERYTHING else 4):
        net = random_network(seed)
        x = point(net, seed)
        apart = ask(net, x, kind, p)
        with monkeypatch.context() as patched:
            patched.setattr(mip, "SEPARATE_UP_TO", 0)
            together = ask(net, x, kind, p)
        assert apart.certificate is together.certificate is Certificate.EXACT
        assert together.lower == pytest.approx(apart.lower, rel=1e-6)
        assert together.upper == pytest.approx(apart.upper, rel=2e-6)


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_one_program_of_all_signs_is_one_program_each(p: float) -> None:
    """Sign vectors as binaries of one program, and one by one as functionals: the same optimum."""
    for seed in (0, 1, 3):
        net = random_network(seed)
        x = point(net, seed)
        problem = LocalLipschitz(LinfBall(RADIUS), Vector(), p=p, q=1.0)
        local = frozen_analysis(net, problem, x, None)
        together = Highs().solve(encode(local, FunctionalFamily((0, 1, 2), signs=True)).program, Budget(600.0))
        assert together.status is Status.PROVED
        apart, each = families(local)
        assert len(each) == 4
        outcomes = [Highs().solve(encode(apart, family).program, Budget(600.0)) for family in each]
        assert together.incumbent == pytest.approx(max(o.incumbent for o in outcomes), rel=1e-6)
        assert together.claimed == pytest.approx(max(o.claimed for o in outcomes), rel=1e-6)


def test_more_outputs_than_sign_vectors_are_tried_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit the sign vectors are binaries, in the MIP and in its relaxation."""
    monkeypatch.setattr("lipreg.problem.APART_OUTPUTS", 2)  # the network has 3
    net = random_network(0)
    x = point(net, 0)
    x0 = x[0].numpy()
    cells = oracles.cells(net, oracles.Domain(x0, x0 - RADIUS, x0 + RADIUS))
    for p in (1.0, math.inf):
        truth = oracles.regional(cells, None, p, 1.0)
        interval = ask(net, x, "into_l1", p)
        assert interval.certificate is Certificate.EXACT
        assert interval.upper == pytest.approx(truth, rel=1e-5)
        problem = LocalLipschitz(LinfBall(RADIUS), Vector(), p=p, q=1.0)
        assert certify(net, problem, x, estimator="lp")[0].upper >= truth * (1 - 1e-9)
        with pytest.raises(UnsupportedRequest, match="of 3 outputs"):
            ask(net, x, "into_l1", p, "pointed")
