"""The questions that benchmarks take from others' publications are asked as they were published."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks import at_size, size_page
from benchmarks import published as sets
from benchmarks.published import SETS
from lipreg import AllLogits, Box, LinfBall, Logit, UnitCube, Vector, WholeSpace

THEIRS = {
    "lipbab": (15, Vector(), {1.0, 2.0, math.inf}),
    "exlipbab": (5, Vector(), {2.0}),
    "glipsdp": (4, Logit(7), {2.0}),
    "acas": (10, None, {math.inf}),
}


@pytest.mark.parametrize("name", THEIRS)
def test_questions_of_others(name: str) -> None:
    if not (sets.folder() / "lipbab").is_dir():
        pytest.skip(f"no networks at {sets.folder()}; set LIPREG_NETS to the folder that holds lipbab/")
    count, output, norms = THEIRS[name]
    asked = list(SETS[name].questions())
    assert len(asked) == count and {a.problem.p for a in asked} == norms
    for a in asked:
        assert a.problem.scope == "regional" and a.problem.output == (output or a.problem.output)
        assert not isinstance(a.problem.output, Vector) or a.problem.q == a.problem.p
        assert a.module(a.x).dtype == torch.float64
    if name == "lipbab":
        assert [a.problem.region for a in asked[:6:3]] == [Box(0.0, 0.1), Box(0.0, 1.0)]
        assert all(a.problem.region == LinfBall(0.1) for a in asked[6:])
    elif name == "exlipbab":
        assert all(a.problem.region == WholeSpace() for a in asked)
    elif name == "glipsdp":
        assert all(a.problem.region == UnitCube() for a in asked)
    else:
        assert [a.problem.output for a in asked] == [Logit(k) for k in range(5)] * 2


def test_questions_at_size() -> None:
    """Those of weights at hand, over regions in the units of each network's input."""
    if not (sets.folder() / "trained").is_dir():
        pytest.skip(f"no networks at {sets.folder()}; set LIPREG_NETS to the folder that holds trained/")
    asked = [*at_size.mnist_256x2(), *at_size.cifar_base(), *at_size.compared()]
    assert all(a.problem.p == math.inf and a.module(a.x).shape == (1, 10) for a in asked)
    radii = {(a.name, a.member): a.problem.region.radius for a in asked}  # type: ignore[attr-defined]
    assert radii["cifar_base_kw", "1/255"] == pytest.approx(1 / 255 / 0.225)
    assert radii["cifar_cnn4", "1/255"] == radii["cifar_demo", "1/255"] == pytest.approx(1 / 255 / 0.2009)
    assert radii["mnist-net_256x2", "0.03"] == 0.03 and radii["mnist_mlp100", "8/255"] == 8 / 255
    assert [int(a.module(a.x).argmax()) for a in asked] == [7, 7, 7, 3, 7, 7, 7, 3, 5], "what the networks see"


def test_the_page_tells_a_bound_from_above_without_a_gap() -> None:
    row = {"question": "net", "member": "1/255", "engine": "lp", "closed": False, "lower": 0.0, "upper": 16.5675}
    row |= {"gap": 1.0, "cpu_seconds": 6.0, "peak_gib": 1.0, "nodes": None, "undecided": 117}
    both = row | {"engine": "branch_and_bound", "lower": 16.0, "gap": 0.034, "nodes": 12}
    told = size_page.table({"before": [], "after": [row, both]})
    assert "| at most 16.567 |  | 6 |" in told and "100" not in told
    assert "| [16, 16.567] | 3.4 % | 6 |" in told


def test_few_inputs() -> None:
    asked = list(SETS["few"].questions())
    assert len({(a.name, a.member) for a in asked}) == 3 + 3 * 4
    assert all(a.problem.output == AllLogits() for a in asked)
    assert {a.problem.p for a in asked} == {1.0, 2.0, math.inf}


def test_planted_cells() -> None:
    """As many as asked for, each with a slope that is exceeded at most."""
    assert all(a.known and 0 < a.known[0] < a.known[1] for a in sets.planted(5))
    assert len(list(sets.planted(5))) == 5
