"""Two checkers that share nothing say the same of every file: of certificates, and of what somebody has changed in them."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from lipreg.checking import Refused
from lipreg.checking.file import parse
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, LinfBall
from lipreg.testing.networks import network
from tests.certificates.cases import certified, places
from tests.certificates.changes import QUESTIONS, accepted, change, written
from tests.checking.by_fractions import agrees

SEEDS = 12


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_accept_the_certificates(name: str) -> None:
    assert accepted(written(name)) and agrees(written(name))


@pytest.mark.parametrize("net", ["residual", "pooled", "leaky"])
def test_both_accept_branches_pools_and_slopes(net: str) -> None:
    region = LinfBall(0.6) if net != "leaky" else L1Ball(0.8, low=-0.5)
    x = torch.full((1, 2), 0.1, dtype=torch.float64)
    plain = certified(network(net, 1), LocalLipschitz(region, AllLogits()), x)[1].plain
    assert accepted(plain) and agrees(plain)


def test_both_say_the_same_of_changed_files() -> None:
    """Of files that are well formed: that others are refused is for the checker of files alone."""
    said = []
    for seed in range(SEEDS):
        draw = random.Random(seed)
        plain = copy.deepcopy(written(draw.choice(["inf", "1", "units", "one", "both", "flat"])))
        while True:
            part = draw.choice(["network", "question", "claim", "lower", "upper", "upper"])
            changed = copy.deepcopy(plain)
            own = [path for path in places(changed[part], (part,)) if path != (part,)]
            change(changed, draw.choice(own), draw.choice)
            try:
                parse(changed)
            except Refused:
                continue
            break
        said.append(agrees(changed))
        assert said[-1] is accepted(changed)
    assert 0 < sum(said) < SEEDS
