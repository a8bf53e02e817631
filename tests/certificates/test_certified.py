"""Certificates of what the search proves about tiny networks of every kind: both ends are checked and stand by the truth."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lipreg.certificates import NoCertificate, certificate_of
from lipreg.checking import Refused, check, read
from lipreg.checking.file import parse
from lipreg.estimators import frozen_analysis
from lipreg.outputs import AllLogits, AllMargins, Combination, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, Region, WholeSpace
from lipreg.results import CertifiedInterval
from lipreg.testing import exact_constants
from lipreg.testing.networks import JUDGED, Residual, input_size, network, written_out
from tests.certificates.cases import certified
from tests.conformance.questions import sampled

REGIONS: dict[str, Callable[[int], Region]] = {
    "linf": lambda n: LinfBall(0.9),
    "linf_cut": lambda n: LinfBall(0.8, low=-0.1, high=0.9),
    "l2_cut": lambda n: L2Ball(0.9, low=0.0),
    "l1": lambda n: L1Ball(1.3),
    "box_flat": lambda n: Box([-0.5] * (n - 1) + [0.2] if n > 1 else [-0.5], [1.0] * (n - 1) + [0.2 if n > 1 else 1.0]),
}
OUTPUTS: dict[str, tuple[Output, float | None]] = {
    "logits": (AllLogits(), None),
    "margins": (AllMargins(), None),
    "q1": (Vector(), 1.0),
    "qinf": (Vector(), math.inf),
}
NORMS = (1.0, 2.0, math.inf)
CASES = [
    (name, region, output, p)
    for (a, name), (b, region), (c, output), (d, p) in itertools.product(
        enumerate(JUDGED), enumerate(REGIONS), enumerate(OUTPUTS), enumerate(NORMS)
    )
    if sampled(37, a, 2 * b, 3 * c, 5 * d)
]


@pytest.mark.parametrize(("name", "region", "output", "p"), CASES)
def test_exact_answers_are_checked_and_true(name: str, region: str, output: str, p: float) -> None:
    net, (kind, q) = network(name), OUTPUTS[output]
    x, y = torch.full((1, input_size(net)), 0.2, dtype=torch.float64), torch.tensor([0])
    problem = LocalLipschitz(REGIONS[region](x.shape[1]), kind, p=p, q=q)
    interval, written = certified(net, problem, x, y)
    low, high = exact_constants(written_out(net), problem, x, y)[0]
    verdict = check(parse(json.loads(json.dumps(written.plain))))
    assert (float(verdict.lower), float(verdict.upper)) == (interval.lower, interval.upper)
    assert verdict.lower <= high * (1 + 1e-9) and verdict.upper >= low * (1 - 1e-9)


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    net, x = network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    _, written = certified(net, LocalLipschitz(LinfBall(1.0), AllLogits()), x)
    path = written.save(tmp_path / "c.json.gz")
    assert path.read_bytes() == written.save(tmp_path / "d.json.gz").read_bytes()
    assert check(read(path)) == check(parse(written.plain))


def test_folded_layers_are_what_they_were_made_of() -> None:
    """A graph multiplies linear layers out in float64; the certificate is about the layers."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()
    problem, x = LocalLipschitz(LinfBall(1.0), Combination((1.0, -1.0))), torch.zeros(1, 2, dtype=torch.float64)
    interval, written = certified(net, problem, x)
    assert "product" in json.dumps(written.plain["network"])
    assert float(check(parse(written.plain)).upper) == interval.upper


def test_a_witness_outside_of_the_region_is_none() -> None:
    net, x = nn.Linear(2, 2).double(), torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), Combination((1.0, -1.0)))
    interval, _ = certified(net, problem, x)
    assert interval.witness is not None
    outside = replace(interval, witness=replace(interval.witness, point=(5.0, 0.0)))
    analysis = frozen_analysis(net, problem, x, None)
    with pytest.raises(NoCertificate, match="outside of the region, by 4"):
        certificate_of(analysis.graph, analysis.placed, outside)


def test_numbers_of_float32_are_exact() -> None:
    torch.manual_seed(0)
    net = Residual(2, 4, 2)
    interval, written = certified(net, LocalLipschitz(LinfBall(0.1), AllLogits()), torch.full((1, 2), 0.3))
    assert float(check(parse(written.plain)).lower) == interval.lower > 0


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (LocalLipschitz(LinfBall(1.0), AllLogits(), "pointed"), "scope='pointed'"),
        (LocalLipschitz(LinfBall(1.0), Vector(), q=2), "q=2"),
        (LocalLipschitz(WholeSpace(), AllLogits(), p=2), "region=WholeSpace"),
        (LocalLipschitz(Polytope([[1.0, 1.0]], [0.5], low=-1.0, high=1.0), AllLogits(), p=2), "region=Polytope"),
    ],
)
def test_what_has_no_place_in_the_format_is_refused_by_name(problem: LocalLipschitz, why: str) -> None:
    with pytest.raises(NoCertificate, match=why):
        certified(network("shallow"), problem, torch.zeros(1, 2, dtype=torch.float64))


def test_nothing_is_written_of_an_upper_end_that_is_too_low() -> None:
    net, x = network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1.0), AllLogits())
    from lipreg.certificates import certificate_of
    from lipreg.estimators import certify, frozen_analysis

    (interval,) = certify(net, problem, x, estimator="branch_and_bound")
    analysis = frozen_analysis(net, problem, x, None)
    false = CertifiedInterval(problem, interval.functional, 0.0, interval.lower * (1 - 1e-9), proof="a false one")
    with pytest.raises(NoCertificate, match="steeper"):
        certificate_of(analysis.graph, analysis.placed, false)


@pytest.mark.parametrize("p", NORMS)
def test_units_and_measured_inputs(p: float) -> None:
    net, x = network("deep"), torch.full((1, 2), 0.2, dtype=torch.float64)
    for own in ({"scale": (0.3, 2.5)}, {"measured": [1]}, {"scale": 3.7, "measured": [0]}):
        problem = LocalLipschitz(LinfBall(0.9), AllLogits(), p=p, **own)
        interval, written = certified(net, problem, x)
        low, high = exact_constants(net, problem, x)[0]
        for mode in ("exact", "rounded"):
            verdict = check(parse(written.plain), mode=mode)
            assert (float(verdict.lower), float(verdict.upper)) == (interval.lower, interval.upper)
            assert verdict.lower <= high * (1 + 1e-9) and verdict.upper >= low * (1 - 1e-9)


def test_older_versions_are_read() -> None:
    """The first has no counts, every entry of a gradient counting as it is; the first two do not say what is alone."""
    net, x = network("shallow"), torch.zeros(1, 2, dtype=torch.float64)
    plain = certified(net, LocalLipschitz(LinfBall(1.0), AllLogits()), x)[1].plain
    for tree in plain["upper"]:
        for square in itertools.chain(*(node[1] for node in tree if node[0] == "square")):
            del square["alone"]
    assert check(parse(plain | {"version": 2}))
    with pytest.raises(Refused, match="fields"):
        parse(plain)
    old = {name: value for name, value in plain["question"].items() if name != "counts"}
    assert check(parse(plain | {"version": 1, "question": old})) == check(parse(plain | {"version": 2}))
    with pytest.raises(Refused, match="fields"):
        parse(plain | {"version": 1})
