"""Arguments that another one holds: the message shows what to write, with the values given, and what it shows works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

import lipreg
from lipreg import LipschitzPenalty, Points
from lipreg.callbacks import LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.penalties import Hinge
from tests.callbacks.cases import PROBLEM


def read(batch: Any) -> Any:
    return batch["x"], batch["y"]


X, Y = torch.rand(2, 4), torch.tensor([0, 1])
SHARED: list[tuple[dict[str, Any], str]] = [
    ({"penalty": "hinge", "penalty_options": {"target": 5.0}}, "penalty=Hinge(target=5.0)"),
    ({"penalty": Hinge(1.0), "penalty_options": {"target": 5.0}}, "penalty=Hinge(target=5.0)"),
    ({"penalty": {"kind": "hinge"}, "penalty_options": {"target": 5.0}}, "penalty=Hinge(target=5.0)"),
    ({"penalty_options": {"k": 3}}, "penalty=WorstK(k=3)"),
    ({"penalty": "log", "penalty_options": None}, "penalty=Log()"),
    ({"schedule": "cosine", "schedule_options": {"batches": 9, "end": 0.5}}, "schedule=Cosine(batches=9, end=0.5)"),
    ({"seed": 7}, "points=Points('all', seed=7)"),
    ({"points": 4, "seed": 7}, "points=Points(4, seed=7)"),
    ({"points": (X, Y), "ignore_index": 2}, "points=Points((x, y), ignore_index=2)"),
    ({"points": X, "ignore_index": 2}, "points=Points(x, ignore_index=2)"),
    ({"points": Points(4, seed=1), "ignore_index": 2}, "points=Points(4, seed=1, ignore_index=2)"),
    (
        {"penalty": "hinge", "penalty_options": {"target": 1.0}, "points": 4, "seed": 7},
        "penalty=Hinge(target=1.0), points=Points(4, seed=7)",
    ),
]
OF_THE_CALLBACK: list[tuple[dict[str, Any], str]] = [
    ({"points": 4, "fixed_points": True}, "points=Points(4, fixed=True)"),
    ({"batch_to_inputs": read}, "points=Points('all', batch_to_inputs=read)"),
    (
        {"points": 4, "fixed_points": True, "seed": 2, "batch_to_inputs": read, "ignore_index": 0},
        "points=Points(4, fixed=True, seed=2, batch_to_inputs=read, ignore_index=0)",
    ),
]


def penalty(**arguments: Any) -> LipschitzPenalty:
    return LipschitzPenalty(None, PROBLEM, **arguments)


def regularizer(**arguments: Any) -> LipschitzRegularizer:
    return LipschitzRegularizer(PROBLEM, **arguments)


@pytest.mark.parametrize(
    ("make", "arguments", "form"),
    [(make, *case) for make in (regularizer, penalty) for case in SHARED]
    + [(regularizer, *case) for case in OF_THE_CALLBACK],
)
def test_the_message_shows_what_to_write(make: Callable[..., Any], arguments: dict[str, Any], form: str) -> None:
    with pytest.raises(InvalidInput) as told:
        make(**arguments)
    assert told.value.where == ("LipschitzRegularizer" if make is regularizer else "LipschitzPenalty")
    assert told.value.todo.startswith(f"Write {form} (from lipreg")
    told_imports = told.value.todo.removeprefix(f"Write {form} (").removesuffix(")")
    names: dict[str, Any] = {"x": X, "y": Y, "read": read}
    exec(told_imports, names)
    assert make(**eval(f"dict({form})", names)).problem is PROBLEM, "what it says can be written"


def test_options_of_a_kind_that_is_not_known_are_shown_as_plain_data() -> None:
    with pytest.raises(InvalidInput, match=r"Write penalty=\{'kind': 'own', 'height': 3\}"):
        regularizer(penalty="own", penalty_options={"height": 3})


@pytest.mark.parametrize("make", [regularizer, penalty])
def test_a_misspelt_argument_is_python_s_own_error(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'wieght'\. Did you mean 'weight'\?$"):
        make(wieght=1.0)
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'zzz'$"):
        make(zzz=1.0)
    with pytest.raises(TypeError, match="positional argument"):
        LipschitzRegularizer(PROBLEM, "affine_relu")  # type: ignore[misc]


def test_the_signatures_are_short_and_seen() -> None:
    own = [name for name in inspect.signature(LipschitzRegularizer).parameters]
    assert own[:6] == ["problem", "bound", "weight", "penalty", "schedule", "points"]
    assert len(own) <= 12
    assert len(inspect.signature(lipreg.LipschitzPenalty).parameters) <= 12
