"""Penalties against sums written by hand, their gradients, and what they refuse."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.penalties import PENALTIES, Hinge, Mean, Penalty, RadiusHinge, Sum, get_penalty, register
from lipreg.schedules import get_schedule
from lipreg.seen import Seen

BOUNDS = [3.0, 0.5, 7.0, 2.0]
FACTORS = [[3.0, 0.5], [7.0, 2.0]]

CASES: list[tuple[str, dict[str, Any] | None, float]] = [
    ("mean", None, (3.0 + 0.5 + 7.0 + 2.0) / 4),
    ("worst_k", {"k": 1}, 7.0),
    ("worst_k", {"k": 2}, (7.0 + 3.0) / 2),
    ("worst_k", {"k": 9}, (3.0 + 0.5 + 7.0 + 2.0) / 4),
    ("hinge", {"target": 2.5}, (0.5 + 4.5) / 4),
    ("hinge", {"target": 0}, (3.0 + 0.5 + 7.0 + 2.0) / 4),
    ("hinge", {"target": 100.0}, 0.0),
    ("log", None, (math.log(3.0) + math.log(0.5) + math.log(7.0) + math.log(2.0)) / 4),
    ("log", {"floor": 1.0}, (math.log(3.0) + math.log(7.0) + math.log(2.0)) / 4),
    ("sum", {"parts": ["mean", [2.0, {"kind": "hinge", "target": 2.5}]]}, 12.5 / 4 + 2 * 5.0 / 4),
    ("layer_sum", None, ((3.0 + 0.5) + (7.0 + 2.0)) / 2),
]
IDS = [f"{name}-{options}" for name, options, _ in CASES]


def valid(name: str, **arguments: Any) -> Tensor:
    """What the penalty takes: bounds, or a layered one's factors."""
    return torch.tensor(FACTORS if PENALTIES[name].layered else BOUNDS, **arguments)


@pytest.fixture
def scratch_registry() -> Iterator[None]:
    before = dict(PENALTIES)
    yield
    PENALTIES.clear()
    PENALTIES.update(before)


@pytest.mark.parametrize(("name", "options", "expected"), CASES, ids=IDS)
def test_value(name: str, options: dict[str, Any] | None, expected: float) -> None:
    got = get_penalty({"kind": name, **(options or {})})(valid(name, dtype=torch.float64))
    assert got.shape == ()
    assert got.item() == pytest.approx(expected, rel=1e-14, abs=1e-14)


@pytest.mark.parametrize(("name", "options", "expected"), CASES, ids=IDS)
def test_gradient(name: str, options: dict[str, Any] | None, expected: float) -> None:
    bounds = valid(name, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(get_penalty({"kind": name, **(options or {})}), (bounds,))


@pytest.mark.parametrize(("name", "options", "expected"), CASES, ids=IDS)
def test_an_object_and_plain_data_are_the_same_penalty(
    name: str, options: dict[str, Any] | None, expected: float
) -> None:
    made: Any = PENALTIES[name](**(options or {}))  # type: ignore[operator]
    assert get_penalty(made) is made
    assert get_penalty(made.describe()) == made
    assert get_penalty({"kind": name, **(options or {})}) == made
    if not made.describe().keys() - {"kind"}:
        assert get_penalty(name) == made


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Hinge, r"the class Hinge.*Write penalty=Hinge\(target=\.\.\.\)"),
        (Mean, r"the class Mean.*Write penalty=Mean\(\)"),
        ("hinge", r"'target' is missing.*Write penalty=Hinge\(target=\.\.\.\) \(from lipreg\.penalties import Hinge\)"),
        ({"target": 5.0}, r"\{'target': 5\.0\}.*\"kind\": its name"),
        ({"kind": "hing", "target": 5.0}, r"did you mean 'hinge'"),
        (get_schedule("constant"), r"got Constant\(\)"),
        (3, "got 3"),
        (None, "got None"),
    ],
    ids=str,
)
def test_other_forms_are_refused(given: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        get_penalty(given)


def test_an_object_without_a_name_is_told_how_to_get_one() -> None:
    @dataclass(frozen=True)
    class Nameless(Penalty):
        def reduce(self, values: Tensor, seen: Seen) -> Tensor:
            return values.sum()

    @dataclass(frozen=True)
    class Steeper(Hinge):
        """Another formula, which records would call a hinge."""

    for given in (Nameless(), Steeper(target=1.0)):
        with pytest.raises(InvalidInput, match=r"(Nameless|Steeper) has no name of its own.*@register"):
            get_penalty(given)


def test_every_registered_penalty_is_covered_here() -> None:
    assert {*(name for name, _, _ in CASES), "radius_hinge"} == set(PENALTIES)


def test_the_radius_that_is_missing() -> None:
    """By hand: points certified further than asked, not as far, of another class, and without any slope."""
    outputs = torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.5, 0.0], [1.0, 0.0, 2.0], [2.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    outputs, labels = outputs.double().requires_grad_(), torch.tensor([0, 1, 0, 0, 0])
    bounds = torch.tensor([4.0, 2.0, 5.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    seen = Seen(outputs, labels)
    assert seen.margins.tolist() == [2.0, 0.5, -1.0, 1.0, 0.0]
    value = RadiusHinge(0.3)(bounds, seen)
    assert value.item() == pytest.approx((0.0 + (0.3 - 0.25) + 0.3 + 0.0 + 0.3) / 5)
    of_bounds, of_outputs = torch.autograd.grad(value, (bounds, outputs))
    assert of_bounds.tolist() == pytest.approx([0, 0.5 / 2.0**2 / 5, 0, 0, 0])
    assert of_outputs[1].tolist() == pytest.approx([0.5 / 5, -0.5 / 5, 0])
    assert not of_outputs[[0, 2, 3]].any()


def test_what_is_not_there_cannot_be_seen() -> None:
    with pytest.raises(InvalidInput, match=r"reads outputs.*Seen\(outputs=\.\.\.\)"):
        RadiusHinge(0.3)(torch.tensor(BOUNDS))
    with pytest.raises(InvalidInput, match="no labels"):
        RadiusHinge(0.3)(torch.tensor([1.0]), Seen(torch.zeros(1, 2)))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "parts="),
        ("mean", "parts='mean'"),
        (["mean", "layer_sum"], "two LipschitzRegularizers"),
        ([[-1.0, "mean"]], "factor=-1.0"),
        (["means"], "did you mean 'mean'"),
    ],
)
def test_sums_that_are_none(parts: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Sum(parts)


def test_a_penalty_that_sees_nothing_is_told_what_to_write(scratch_registry: None) -> None:
    @dataclass(frozen=True)
    class Older(Penalty):
        def reduce(self, bounds: Tensor) -> Tensor:  # type: ignore[override]
            return bounds.sum()

    with pytest.raises(InvalidInput, match=r"reduce takes \(bounds\)\. Accepted: def reduce\(self, values, seen\)"):
        register("older")(Older)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_follows_the_bounds(dtype: torch.dtype) -> None:
    for name, options, _ in CASES:
        assert get_penalty({"kind": name, **(options or {})})(valid(name, dtype=dtype)).dtype == dtype


def test_log_of_a_network_that_is_off_stays_finite() -> None:
    """A bound of 0 must neither become -inf nor send an infinite gradient into the weights."""
    bounds = torch.tensor([0.0, 4.0], dtype=torch.float64, requires_grad=True)
    value = get_penalty({"kind": "log", "floor": 1e-3})(bounds)
    (gradient,) = torch.autograd.grad(value, bounds)
    assert value.item() == pytest.approx((math.log(1e-3) + math.log(4.0)) / 2)
    assert gradient.tolist() == [0.0, 0.5 / 4.0]


def test_worst_k_pulls_only_the_largest() -> None:
    bounds = torch.tensor(BOUNDS, requires_grad=True)
    get_penalty({"kind": "worst_k", "k": 2})(bounds).backward()
    assert bounds.grad is not None
    assert bounds.grad.tolist() == [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("means", None, ["means", "mean", "worst_k", "hinge", "log"]),
        ("mean", {"k": 2}, ["unknown option 'k'", "no options"]),
        ("hinge", None, ["option 'target' is missing", "target (required)"]),
        ("hinge", {"targt": 1.0}, ["unknown option 'targt'", "option 'target' is missing"]),
        ("hinge", {"target": -1.0}, ["target=-1.0"]),
        ("hinge", {"target": math.nan}, ["target=nan"]),
        ("hinge", {"target": "5"}, ["target='5'"]),
        ("worst_k", {"k": 0}, ["k=0"]),
        ("worst_k", {"k": 2.0}, ["k=2.0"]),
        ("worst_k", {"k": True}, ["k=True"]),
        ("log", {"floor": 0.0}, ["floor=0.0"]),
    ],
)
def test_refusals_say_what_is_wrong(name: str, options: dict[str, Any] | None, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        get_penalty({"kind": name, **(options or {})})
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("bounds", [torch.zeros(0), torch.zeros(2, 3), torch.tensor(1.0), torch.tensor([1, 2])])
def test_only_a_batch_of_bounds_is_taken(bounds: Tensor) -> None:
    for name, options, _ in CASES:
        if PENALTIES[name].layered and bounds.dim() == 2:
            bounds = bounds[0]
        with pytest.raises(InvalidInput, match=name):
            get_penalty({"kind": name, **(options or {})})(bounds)


def test_options_are_plain_data_and_travel() -> None:
    penalty = get_penalty({"kind": "hinge", "target": 5.0})
    assert penalty.describe() == {"kind": "hinge", "target": 5.0}
    assert pickle.loads(pickle.dumps(penalty)) == penalty


def test_one_decorator_adds_a_penalty(scratch_registry: None) -> None:
    @register("power")
    @dataclass(frozen=True)
    class Power(Penalty):
        """mean of B_i^exponent."""

        exponent: float = 2.0

        def reduce(self, values: Tensor, seen: Seen) -> Tensor:
            return values.pow(self.exponent).mean()

    assert get_penalty({"kind": "power", "exponent": 3.0})(torch.tensor([1.0, 2.0])).item() == 4.5
    with pytest.raises(InvalidInput, match="exponent"):
        get_penalty({"kind": "power", "degree": 3.0})


def test_names_are_not_taken_twice(scratch_registry: None) -> None:
    @dataclass(frozen=True)
    class Other(Penalty):
        def reduce(self, values: Tensor, seen: Seen) -> Tensor:
            return values.sum()

    with pytest.raises(InvalidInput, match="Mean"):
        register("mean")(Other)


def test_options_need_a_dataclass(scratch_registry: None) -> None:
    class Bare(Penalty):
        def reduce(self, values: Tensor, seen: Seen) -> Tensor:
            return values.sum()

    with pytest.raises(InvalidInput, match="dataclass"):
        register("bare")(Bare)
