"""The penalties of the study: what a name and a strength add to the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from experiments.exact_study.questions import Question
from experiments.exact_study.small_boxes import SmallBoxes
from experiments.exact_study.witnesses import AtWitnesses
from lipreg import LipschitzPenalty, Points

Term = Callable[[Tensor, Tensor], Tensor]
"""Inputs and labels of a batch -> what is added to its loss."""
WIDE = 0.15 / 0.05
"""How much larger the region of ``fastlip_wide`` is."""
MIXTURES = {
    "jacobian_fastlip": ("fastlip", 0.1),
    "jacobian_fastlip_half": ("fastlip", 0.5),
    "jacobian_fastlip_wide": ("fastlip_wide", 0.1),
}
"""Which bound stands beside ``jacobian``, and how much of it."""
OWN_BOUNDS = {
    **{name: name for name in ("affine_relu", "spectral", "abs_chain", "fastlip")},
    "fastlip_wide": "fastlip",
    **dict.fromkeys(MIXTURES, "fastlip"),
}
"""The bound that a run lowers; all others are seen by ``YARDSTICK``."""
YARDSTICK = "affine_relu"

_NAMED: dict[str, dict[str, Any]] = {
    **{name: {"bound": name} for name in ("affine_relu", "spectral", "abs_chain", "fastlip", "fastlip_wide")},
    **{name: {"quantity": name} for name in ("jacobian", "jacobian_frobenius", "gradient", "weight_decay")},
    "fastlip_wide": {"bound": "fastlip", "wide": True},
}


def term(name: str, strength: float, net: nn.Module, question: Question, seed: int) -> Term | None:
    """The term of a penalty, the mean over the batch; None for the twin and for early stopping, which add nothing.

    Args:
        name: one of ``PENALTIES``, or ``TWIN``.
        strength: the weight; of ``pgd`` and ``small_box`` the radius, with all of the loss there.
        net: a chain of linear layers and ReLUs.
        question: in which balls.
        seed: of what is drawn.
    """
    radius = question.radii[0]
    problem = question.problem(radius)

    def penalty(weight: float, wide: bool = False, **what: Any) -> LipschitzPenalty:
        asked = question.problem(radius * WIDE) if wide else problem
        return LipschitzPenalty(net, asked, weight=weight, points=Points("all", seed=seed), **what)

    match name:
        case "none" | "early_stopping":
            return None
        case "pgd":
            return penalty(1.0, quantity={"kind": "pgd", "radius": strength})
        case "small_box":
            return SmallBoxes(net, strength, question.p, seed)
        case "witnesses":
            return AtWitnesses(penalty(strength, quantity="jacobian"), net, problem)
        case _ if name in MIXTURES:
            beside, share = MIXTURES[name]
            first, second = penalty(strength, quantity="jacobian"), penalty(share * strength, **_NAMED[beside])
            return lambda x, y: first(x, y) + second(x, y)
        case _:
            return penalty(strength, **_NAMED[name])
