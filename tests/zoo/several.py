"""Networks of several inputs and outputs, through ``lipreg.Select`` as one of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lipreg
from tests.zoo.forwards import Written, Zoo, linear

_WHOLE, ZOO = Zoo(), Zoo()


@dataclass
class Outputs:
    logits: Tensor
    loss: Tensor | None = None


class Pair(NamedTuple):
    mean: Tensor
    spread: Tensor


@_WHOLE(3, a=linear(3, 4), b=linear(4, 2))
def returns_a_dict(self: Any, x: Tensor) -> dict[str, Tensor]:
    h = F.relu(self.a(x))
    return {"logits": self.b(h), "probabilities": F.softmax(self.b(h), 1), "features": h}


@_WHOLE(3, a=linear(3, 4), b=linear(4, 2))
def returns_a_tuple(self: Any, x: Tensor) -> tuple[Tensor, Any]:
    h = F.relu(self.a(x))
    return self.b(h), (h, h * h)


@_WHOLE(3, a=linear(3, 2))
def returns_a_dataclass(self: Any, x: Tensor, labels: Tensor | None = None) -> Outputs:
    logits = self.a(x).relu()
    return Outputs(logits, None if labels is None else F.cross_entropy(logits, labels))


@_WHOLE(3, a=linear(3, 4))
def returns_a_named_tuple(self: Any, x: Tensor) -> Pair:
    mean, spread = self.a(x).relu().chunk(2, dim=1)
    return Pair(mean, torch.exp(spread))


@_WHOLE(3, a=linear(5, 4), b=linear(4, 2))
def state_and_goal(self: Any, state: Tensor, goal: Tensor, scale: float) -> Tensor:
    return scale * self.b(F.relu(self.a(torch.cat([state, goal], dim=1))))


@_WHOLE(3, a=linear(3, 3), b=linear(2, 3))
def gates(self: Any, x: Tensor, gate: Tensor) -> Tensor:
    return F.relu(self.a(x)) * F.relu(self.b(gate))


@_WHOLE(3, a=linear(3, 3), classes=lambda: nn.Embedding(5, 3))
def of_a_class(self: Any, x: Tensor, label: Tensor) -> Tensor:
    return F.relu(self.a(x) + self.classes(label)) * self.classes(label)


@_WHOLE(3, a=linear(3, 4))
def reads_a_dict(self: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"y": F.relu(self.a(batch["image"])) * batch["mask"]}


@_WHOLE(3, a=linear(3, 4))
def unpacks_a_batch(self: Any, batch: Any) -> Tensor:
    x, mask = batch
    return F.relu(self.a(x)) * mask


def _goal() -> Tensor:
    return torch.tensor([[0.5, -1.0]])


def _mask() -> Tensor:
    return torch.tensor([[1.0, 0.0, 2.0, -1.0]])


def _selected(name: str, whole: str, output: Any = None, says: str = "", **how: Any) -> None:
    made: Callable[[], nn.Module] = _WHOLE[whole].build
    ZOO[name] = Written(lambda: lipreg.Select(made(), output, **how), (3,), says)


_selected("logits_of_a_dict", "returns_a_dict", "logits")
_selected("features_of_a_dict", "returns_a_dict", "features")
_selected("first_of_a_tuple", "returns_a_tuple", 0)
_selected("field_of_a_dataclass", "returns_a_dataclass", "logits")
_selected("field_of_a_named_tuple", "returns_a_named_tuple", "mean")
_selected("state_moves", "state_and_goal", fixed={"goal": _goal(), "scale": 2.0})
_selected("goal_moves", "state_and_goal", input="state", fixed={"goal": _goal(), "scale": -1.0})
_selected("gate_is_fixed", "gates", fixed={"gate": _goal()})
_selected("class_is_fixed", "of_a_class", fixed={"label": torch.tensor([3])})
_selected("image_of_a_dict", "reads_a_dict", "y", input="image", fixed={"mask": _mask()})
_selected("first_of_a_batch", "unpacks_a_batch", input=0, fixed={1: _mask()})
ZOO["nested"] = Written(lambda: lipreg.Select(lipreg.Select(_WHOLE["returns_a_tuple"].build(), 1), 0), (3,))
ZOO["not_selected"] = Written(_WHOLE["returns_a_dict"].build, (3,), r"'logits', 'probabilities', 'features'.*Select\(")
ZOO["dataclass"] = Written(
    _WHOLE["returns_a_dataclass"].build, (3,), r"'logits', 'loss'.*Select\(network, output='logits'\)"
)
ZOO["named_tuple"] = Written(
    _WHOLE["returns_a_named_tuple"].build, (3,), r"'mean', 'spread'.*Select\(network, output='mean'\)"
)
ZOO["needs_more"] = Written(_WHOLE["state_and_goal"].build, (3,), r"needs 'goal', 'scale' beside 'state'.*Select\(")
ZOO["reads_keys"] = Written(
    _WHOLE["reads_a_dict"].build, (3,), r"'image', 'mask'.*Select\(network, input='image', fixed=\{'mask': ...\}\)"
)
ZOO["unpacks"] = Written(_WHOLE["unpacks_a_batch"].build, (3,), r"x, y = batch|batch axis")
_selected("probabilities_of_a_dict", "returns_a_dict", "probabilities", r"softmax \[never\].*several.py:[0-9]+")
