"""What a user may ask for as a region, and how wrong requests are refused."""

from __future__ import annotations

import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from lipreg.errors import InvalidInput, LipregError
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Region

BALLS = [LinfBall, L2Ball, L1Ball]
each_ball = pytest.mark.parametrize("kind", BALLS)


@each_ball
@pytest.mark.parametrize("radius", [0, 0.0, -1.0, math.inf, math.nan, "0.1", None, torch.tensor([0.1, 0.2])], ids=repr)
def test_radius_must_be_positive_and_finite(kind: type, radius: object) -> None:
    with pytest.raises(InvalidInput, match="radius"):
        kind(radius)


@each_ball
@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.5, 0.5), (math.nan, 1.0), (0.0, math.inf), ("0", 1.0)])
def test_data_range_must_be_an_interval(kind: type, low: float, high: float) -> None:
    with pytest.raises(InvalidInput):
        kind(0.1, low=low, high=high)


@each_ball
def test_whole_numbers_are_radii_too(kind: type) -> None:
    assert kind(1).describe() == kind(1.0).describe()
    assert kind(1, low=0, high=2).describe() == kind(1.0, low=0.0, high=2.0).describe()


@each_ball
def test_reference_points_outside_the_data_range_are_named(kind: type) -> None:
    region = kind(0.1, low=0.0, high=1.0)
    x = torch.full((3, 2), 0.5, dtype=torch.float64)
    x[1, 0] = 1.2
    with pytest.raises(InvalidInput, match=r"reference point 1.*data range"):
        region.place(x)
    with pytest.raises(InvalidInput, match="data range"):
        region.place(-x)


@pytest.mark.parametrize(
    "region", [LinfBall(0.1), L2Ball(0.1), L1Ball(0.1), Box(-1.0, 1.0)], ids=lambda r: type(r).__name__
)
def test_bad_reference_points_are_refused(region: Region) -> None:
    x = torch.zeros(2, 3, dtype=torch.float64)
    for value in (math.nan, math.inf, -math.inf):
        bad = x.clone()
        bad[1, 2] = value
        with pytest.raises(InvalidInput, match="reference point 1 holds NaN or infinity"):
            region.place(bad)
    with pytest.raises(InvalidInput, match=r"dtype torch\.int64"):
        region.place(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(InvalidInput, match=r"\(batch, \*input shape\)"):
        region.place(torch.zeros(3))


def test_float32_points_may_sit_a_rounding_error_outside() -> None:
    region = LinfBall(0.05, low=-0.1307 / 0.3081, high=(1 - 0.1307) / 0.3081)
    x = (torch.tensor([[0.0, 1.0, 0.5]]) - 0.1307) / 0.3081
    for nudge in (-1e-7, 0.0, 1e-7):
        placed = region.place(x + nudge)
        assert ((placed.lower <= placed.center) & (placed.center <= placed.upper)).all()
        assert float(placed.center.max()) <= float(torch.tensor(region.high))


@pytest.mark.parametrize("kind", BALLS)
def test_coordinates_at_the_end_of_the_range_keep_one_side(kind: type) -> None:
    placed = kind(0.3, low=0.0, high=1.0).place(torch.tensor([[0.0, 1.0, 0.9]], dtype=torch.float64))
    np.testing.assert_allclose(placed.lower.numpy(), [[0.0, 0.7, 0.6]])
    np.testing.assert_allclose(placed.upper.numpy(), [[0.3, 1.0, 1.0]])
    assert placed.movable.all()


# ---------------------------------------------------------------- boxes


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (0.0, 0.0, "without volume"),
        ([0.0, 1.0], [0.0, 1.0], "without volume"),
        ([0.0, 2.0], [1.0, 1.0], "coordinate 1"),
        (math.nan, 1.0, "NaN"),
        (0.0, math.inf, "infinity"),
        ([0.0, 0.0], [1.0, 1.0, 1.0], "shape"),
    ],
    ids=["point", "points", "empty", "nan", "infinite", "shapes"],
)
def test_boxes_without_room_or_sense_are_refused(lower: object, upper: object, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        Box(lower, upper)  # type: ignore[arg-type]


@pytest.mark.parametrize("lower", ["a", [[0.0], [0.0, 1.0]], None], ids=["text", "ragged", "none"])
def test_bounds_that_are_no_numbers_are_refused_in_our_words(lower: object) -> None:
    with pytest.raises(LipregError):
        Box(lower, 1.0)  # type: ignore[arg-type]


def test_a_box_takes_numbers_sequences_and_tensors() -> None:
    same = [Box([0.0, 0.0], [1.0, 2.0]), Box(0, torch.tensor([1.0, 2.0])), Box(np.zeros(2), (1.0, 2.0))]
    assert len({repr(box.describe()) for box in same}) == 1
    assert same[0] == same[1] and hash(same[0]) == hash(same[1])
    x = torch.tensor([[0.5, 0.5], [0.0, 2.0]], dtype=torch.float64)
    placed = same[0].place(x)
    np.testing.assert_array_equal(placed.lower.numpy(), np.zeros((2, 2)))
    np.testing.assert_array_equal(placed.upper.numpy(), [[1.0, 2.0]] * 2)


def test_a_box_must_fit_its_reference_points() -> None:
    box = Box([0.0, 0.0], [1.0, 1.0])
    with pytest.raises(InvalidInput, match="shape"):
        box.place(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="reference point 1 lies outside"):
        box.place(torch.tensor([[0.5, 0.5], [0.5, 1.5]], dtype=torch.float64))


def test_a_box_may_hold_some_coordinates_fixed() -> None:
    placed = Box([0.0, 0.5], [1.0, 0.5]).place(torch.tensor([[0.2, 0.5]], dtype=torch.float64))
    assert placed.movable.tolist() == [[True, False]]


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("region", [LinfBall(0.1, low=0.0), L2Ball(0.2), L1Ball(3.0, high=4.0), Box([0.0, 1.0], 2.0)])
def test_regions_are_values(region: Region) -> None:
    copy = pickle.loads(pickle.dumps(region))
    assert copy == region and hash(copy) == hash(region) and copy.describe() == region.describe()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(region, dataclasses.fields(region)[0].name, 1.0)  # type: ignore[arg-type]


def test_regions_that_differ_describe_themselves_differently() -> None:
    regions = [
        *(kind(0.1) for kind in BALLS),
        *(kind(0.1, low=0.0) for kind in BALLS),
        *(kind(0.1, high=1.0) for kind in BALLS),
        LinfBall(0.2),
        Box(0.0, 1.0),
        Box([0.0, 0.0], 1.0),
    ]
    assert len({repr(region.describe()) for region in regions}) == len(regions)
    assert LinfBall(0.1) != L2Ball(0.1)


@pytest.mark.parametrize(("kind", "norm"), list(zip([*BALLS, Box], [math.inf, 2.0, 1.0, math.inf], strict=True)))
def test_each_region_knows_its_norm(kind: type, norm: float) -> None:
    assert kind.norm == norm


def test_numbers_of_every_kind_are_radii_and_what_no_float_holds_is_refused() -> None:
    third = LinfBall(Fraction(1, 3), low=Fraction(0), high=Fraction(1))
    assert (third.radius, third.low, third.high) == (1 / 3, 0.0, 1.0)
    assert third.place(torch.zeros(1, 2, dtype=torch.float64)).up.tolist() == [[1 / 3, 1 / 3]]
    for wrong in ({"radius": 10**400}, {"radius": 1.0, "low": -(10**400)}, {"radius": True}):
        with pytest.raises(InvalidInput):
            LinfBall(**wrong)
