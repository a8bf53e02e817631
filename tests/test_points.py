"""Points: what can be chosen and what cannot, and the same choice with and without the object."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from lipreg import LipschitzPenalty, Points
from lipreg.callbacks import LipschitzRegularizer
from lipreg.errors import InvalidInput
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit

X, Y = torch.rand(3, 4), torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"which": "some"}, r"points='some'.*Accepted: \"all\", a number"),
        ({"which": 0}, "points=0"),
        ({"which": True}, "points=True"),
        ({"which": 2.5}, "points=2.5"),
        ({"which": (X, Y[:2])}, "points of type tuple"),
        ({"which": X[:0]}, "points of type Tensor"),
        ({"which": X[0]}, "points of type Tensor"),
        ({"which": None}, "points of type NoneType"),
        ({"which": Points(3)}, "points of type Points"),
        ({"fixed": True}, r"fixed=True without a number.*Points\(16, fixed=True\)"),
        ({"which": X, "fixed": True}, "tensors are a fixed set as they are"),
        ({"which": 3, "fixed": 1}, "fixed=1"),
        ({"seed": 1.5}, "seed=1.5.*whole number"),
        ({"seed": False}, "seed=False"),
        ({"batch_to_inputs": "read"}, "batch_to_inputs='read'.*a function"),
        ({"ignore_index": "none"}, "ignore_index='none'"),
    ],
)
def test_refusals_say_what_is_wrong(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as told:
        Points(**arguments)
    assert told.value.where == "Points"


def test_the_choice_alone_is_refused_under_the_argument_it_was_given_for() -> None:
    for make in (lambda: LipschitzRegularizer(PROBLEM, points=0), lambda: LipschitzPenalty(None, PROBLEM, points=0)):
        with pytest.raises(InvalidInput, match=r"points=0.*or a Points") as told:
            make()
        assert told.value.where in ("LipschitzRegularizer", "LipschitzPenalty")


def test_a_penalty_has_no_data_to_draw_from_or_batches_to_read() -> None:
    with pytest.raises(InvalidInput, match=r"fixed=True.*points=\(x, y\)"):
        LipschitzPenalty(None, PROBLEM, points=Points(3, fixed=True))
    with pytest.raises(InvalidInput, match=r"batch_to_inputs=.*Read x and y from the batch yourself"):
        LipschitzPenalty(None, PROBLEM, points=Points(batch_to_inputs=tuple))
    assert LipschitzRegularizer(PROBLEM, points=Points(3, fixed=True, batch_to_inputs=tuple)).points.fixed


def test_what_is_chosen() -> None:
    assert (Points().count, Points().supplied_points) == (None, None)
    assert (Points(4).count, Points(4).supplied_points) == (4, None)
    for which, labels in ((X, None), ((X, Y), Y), ([X, None], None)):
        points = Points(which)  # type: ignore[arg-type]
        assert points.count is None and points.supplied_points is not None
        assert points.supplied_points[0] is X and points.supplied_points[1] is labels
    assert pickle.loads(pickle.dumps(Points(4, seed=3))).seed == 3


@pytest.mark.parametrize("which", ["all", 3, (X, Y)], ids=["all", "drawn", "given"])
def test_the_choice_alone_is_the_object_without_more(which: Any) -> None:
    trained, states = [], []
    for points in (which, Points(which), Points(which, ignore_index=-100, seed=0)):
        torch.manual_seed(0)
        model, ours = Classifier(), LipschitzRegularizer(PROBLEM, weight=0.3, points=points)
        fit(model, batches(3), ours)
        trained.append(model.net[0].weight.detach())
        states.append(ours.state_key)
    assert torch.equal(trained[0], trained[1]) and torch.equal(trained[0], trained[2])
    assert len(set(states)) == 1, "a checkpoint of one is one of the others"


def test_given_points_are_copied() -> None:
    """What is written into a user's tensor later changes no penalty."""
    x, net = X.clone(), Classifier().net
    penalty = LipschitzPenalty(net, PROBLEM, points=Points((x, Y)))
    x.zero_()
    assert penalty.points.fixed is not None
    assert torch.equal(penalty.points.fixed[0], X)
