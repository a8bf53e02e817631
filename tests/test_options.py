"""The one kind of registry: names belong to one class, and go with the instances that bear them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, BoundEstimator, register
from lipreg.estimators.spectral import Spectral
from lipreg.options import Registry


class Twice(Spectral):
    """The spectral product under another name."""


@pytest.fixture(autouse=True)
def estimators_as_they_were() -> Iterator[None]:
    before = dict(ESTIMATORS)
    yield
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced() -> None:
    exact = ESTIMATORS["mip"]
    with pytest.raises(InvalidInput, match=r"belongs to lipreg\.estimators\.mip\.MixedInteger"):
        register("mip")(Twice)
    assert ESTIMATORS["mip"] is exact
    register("mip", replace=True)(Twice)
    assert isinstance(ESTIMATORS["mip"], Twice)


def test_a_class_of_that_name_elsewhere_is_another_one() -> None:
    other = type("MixedInteger", (Spectral,), {"__module__": "__main__"})
    with pytest.raises(InvalidInput, match="belongs to"):
        register("mip")(other)


def test_a_class_that_is_defined_anew_takes_its_own_name() -> None:
    for _ in range(2):
        register("mine")(type("Mine", (Spectral,), {"__module__": "__main__"}))
    assert isinstance(ESTIMATORS["mine"], BoundEstimator)


def test_one_class_under_two_names_is_two_instances_that_keep_theirs() -> None:
    register("first")(Twice)
    register("second")(Twice)
    assert [ESTIMATORS[name].name for name in ("first", "second")] == ["first", "second"]
    assert pickle.loads(pickle.dumps(ESTIMATORS["second"])).name == "second"
    assert ESTIMATORS["spectral"].name == "spectral"


def test_kinds_with_options_are_dataclasses() -> None:
    kinds: Registry[type] = Registry("kind")

    @kinds.register("pair")
    @dataclass(frozen=True)
    class Pair:
        left: int
        right: int = 0

    assert kinds.build("pair", {"left": 1}) == Pair(1)
    with pytest.raises(InvalidInput, match="missing"):
        kinds.build("pair")
    with pytest.raises(InvalidInput, match="dataclass"):
        kinds.register("plain")(type("Plain", (), {}))
