"""Units that imply one another, and sides that leave a hyperplane: networks whose kinks coincide have certificates."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipreg.checking import Refused, check
from lipreg.checking.file import parse
from lipreg.checking.flat import flat
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import L2Ball, LinfBall
from tests.certificates.cases import certified, truth
from tests.certificates.changes import accepted, both_sides, written
from tests.checking.by_fractions import agrees

MODES = ("exact", "rounded")


class Concatenated(nn.Module):
    """Two concatenated ReLUs, one after the other, with a third call of a multiple."""

    def __init__(self, multiple: float) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second, self.third = nn.Linear(3, 3), nn.Linear(9, 3), nn.Linear(6, 2)
        self.multiple = multiple
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        z = self.second(torch.cat([z.relu(), (-z).relu(), (self.multiple * z).relu()], 1))
        return self.third(torch.cat([z.relu(), (-z).relu()], 1))


@pytest.mark.parametrize("multiple", [2.0, 0.1, -3.0])
@pytest.mark.parametrize("region", [LinfBall(0.5), L2Ball(0.6)])
def test_concatenated_units_imply_one_another(multiple: float, region: LinfBall | L2Ball) -> None:
    x = torch.full((1, 3), 0.3, dtype=torch.float64)
    interval, file = certified(Concatenated(multiple), LocalLipschitz(region, AllLogits(), p=2), x)
    assert file.kinds["known"] > 0 and interval.lower >= (1 - 1e-6) * interval.upper
    for mode in MODES:
        assert check(parse(file.plain), mode=mode).upper == interval.upper
    assert agrees(file.plain)


def test_what_is_implied_is_true_by_enumeration() -> None:
    low, high = truth(written("both"))
    verdict = check(parse(written("both")))
    assert verdict.lower <= high * (1 + 1e-9) and verdict.upper >= low * (1 - 1e-9)
    assert math.isclose(verdict.upper, high, rel_tol=1e-6)


def _known(plain: dict[str, Any]) -> list[Any]:
    return next(node for tree in plain["upper"] for node in tree if node[0] == "known")


def _refused(plain: dict[str, Any], why: str) -> None:
    for mode in MODES:
        with pytest.raises(Refused, match=why):
            check(parse(plain), mode=mode)


def test_a_side_that_is_not_implied_is_refused() -> None:
    plain = copy.deepcopy(written("both"))
    _known(plain)[2] = {"on": "off", "off": "on"}[_known(plain)[2]]
    _refused(plain, "leave points on the other side")
    assert not agrees(plain)


def test_multipliers_that_leave_the_unit_itself_out_are_refused() -> None:
    plain = copy.deepcopy(written("both"))
    unit, terms = _known(plain)[1], _known(plain)[3]
    _known(plain)[3] = [n for at in range(0, len(terms), 4) if terms[at] != unit for n in terms[at : at + 4]]
    _refused(plain, "leave points on the other side")
    assert not agrees(plain)


def test_multipliers_that_are_off_by_a_hair_are_refused() -> None:
    plain = copy.deepcopy(written("both"))
    terms = _known(plain)[3]
    assert len(terms) == 8 and terms[1] == terms[5] == 0  # of two units, one a multiple of the other
    terms[2], terms[3] = terms[2] * 2**60 + 1, terms[3] - 60
    _refused(plain, "leave points on the other side")
    assert not agrees(plain)


def test_nothing_is_excluded_twice() -> None:
    """A unit that reads 0 everywhere is on nowhere and off nowhere by strict signs: one side has to be bounded."""
    net = both_sides()
    with torch.no_grad():
        net[0].weight[0], net[0].bias[0] = 0.0, 0.0
        net[0].weight[3:4], net[0].bias[3:4] = 0.0, 0.0
    x = torch.full((1, 2), 0.1, dtype=torch.float64)
    interval, file = certified(net, LocalLipschitz(LinfBall(1.5), AllLogits()), x)
    assert float(check(parse(file.plain)).upper) == interval.upper >= truth(file.plain)[0] * (1 - 1e-9)


def test_units_that_leave_room_are_not_flat() -> None:
    """Without one of the units whose sides leave a hyperplane alone, the others leave room, if there is any."""
    plain = written("flat")
    assert agrees(plain)
    said = []
    for number, tree in enumerate(plain["upper"]):
        for at in (at for at, node in enumerate(tree) if node[0] == "flat"):
            for left in range(len(tree[at][1])):
                changed = copy.deepcopy(plain)
                del changed["upper"][number][at][1][left]
                said.append(accepted(changed))
                assert agrees(changed) is said[-1] and accepted(changed, "rounded") <= said[-1]
    assert said.count(False) >= 3


def test_flat_parts_are_of_any_number_of_inputs() -> None:
    """Rows in the plane and in space, with and without a constant, against what is known of them."""
    plane = [[0, 1, 0], [0, 0, 1], [0, -3, -2]]  # a point
    assert flat(_whole(plane)) and not flat(_whole(plane[:2]))
    assert flat(_whole([[-1, 1, 0], [0, -1, 0]])) and not flat(_whole([[1, 1, 0], [0, -1, 0]]))  # none, and a strip
    assert flat(_whole([[0, 2, 0], [0, -3, 0]])) and not flat(
        _whole([[0, 2, 0], [0, 3, 0]])
    )  # a line, and its half plane
    assert not flat(_whole([[0, 0, 0]])) and not flat(
        _whole([[-1, 0, 0], [0, 1, 0]])
    )  # what reads nothing says nothing
    assert not flat(_whole([*plane, [0, 1, 1]]))  # more than what is needed is not taken
    space = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, -5, -7, -11]]
    assert flat(_whole(space)) and not any(flat(_whole(space[:i] + space[i + 1 :])) for i in range(4))


def _whole(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, dtype=object)


def test_older_versions_know_no_units_that_are_implied() -> None:
    plain = copy.deepcopy(written("both")) | {"version": 2}
    with pytest.raises(Refused, match="a node"):
        parse(plain)
    plain = copy.deepcopy(written("flat")) | {"version": 2}
    with pytest.raises(Refused, match="a node"):
        parse(plain)
