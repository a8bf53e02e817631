"""A network of which a solver's presolve once proved a constant that is too small: of that claim there is no certificate."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg.certificates import NoCertificate, certificate_of
from lipreg.checking import check
from lipreg.checking.file import parse
from lipreg.estimators import certify, frozen_analysis
from lipreg.outputs import Logit
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall

CLAIMED, TRUE = 129.909, 131.551


def question() -> tuple[nn.Module, LocalLipschitz, Tensor]:
    """Rows of weights scaled by 10^U(-3, 3)."""
    rng = np.random.default_rng(130)
    rng.integers(1, 4), rng.integers(4, 11), rng.choice([2, 3, 4, 5])
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((2, 7, 7, 7, 1)):
        weight, bias = rng.normal(size=(outputs, inputs)) * np.sqrt(2 / inputs), rng.normal(size=outputs) * 0.3
        scale = 10.0 ** rng.uniform(-3, 3, size=outputs)
        rng.random()
        layer = nn.Linear(inputs, outputs).double()
        layer.weight.data, layer.bias.data = torch.tensor(weight * scale[:, None]), torch.tensor(bias * scale)
        layers += [layer, nn.ReLU()]
    x, radius = torch.tensor(rng.normal(size=(1, 2)) * 0.5), float(10.0 ** rng.uniform(-1, 0.7))
    return nn.Sequential(*layers[:-1]), LocalLipschitz(LinfBall(radius), Logit(0), p=1), x


def test_the_false_claim_has_no_certificate_and_the_true_one_has() -> None:
    net, problem, x = question()
    (interval,) = certify(net, problem, x, estimator="branch_and_bound")
    analysis = frozen_analysis(net, problem, x, None)
    assert interval.upper == pytest.approx(TRUE, rel=1e-5)
    written = certificate_of(analysis.graph, analysis.placed, interval)
    assert float(check(parse(written.plain)).lower) == interval.lower
    false = replace(interval, lower=0.0, witness=None, upper=CLAIMED * 1.0001)
    with pytest.raises(NoCertificate, match="steeper"):
        certificate_of(analysis.graph, analysis.placed, false)
