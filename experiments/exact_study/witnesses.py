"""Audit in the loop: the Jacobian's norm is penalised where the exact engine found the constant to be attained."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lipreg import Budget, LipschitzPenalty, LocalLipschitz
from lipreg.estimators import certify

EVERY = 16
"""Batches from one audit to the next."""
AUDITED = 8
"""Points of that batch that are audited."""
HELD = 64
"""Witnesses that are penalised at once, the latest; until there are any, the data points are."""
NODES = 200
"""Of a search: what it has found by then is its witness."""


class AtWitnesses:
    """The penalty of a Jacobian's norm, at witnesses of the largest constants instead of at data points.

    What a witness attains is the constant itself when it is found, where the search has ended. Later the weights are others,
    and so may be the place; hence the audits in between.

    Args:
        penalty: of the quantity "jacobian".
        net: the network in training.
        problem: whose constant is searched, around points of the batches.
    """

    def __init__(self, penalty: LipschitzPenalty, net: nn.Module, problem: LocalLipschitz) -> None:
        self.penalty, self.net, self.problem = penalty, net, problem
        self._batch = -1
        self._x: Tensor | None = None
        self._y: Tensor | None = None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self._batch += 1
        if self._batch and self._batch % EVERY == 0:
            self._audit(x[:AUDITED], y[:AUDITED])
        return self.penalty(x, y) if self._x is None or self._y is None else self.penalty(self._x, self._y)

    def _audit(self, x: Tensor, y: Tensor) -> None:
        budget = Budget(math.inf, nodes=NODES)  # no clock: the same on every machine
        found = certify(self.net, self.problem, x, y, estimator="branch_and_bound", budget=budget)
        points = [
            own if each.witness is None else own.new_tensor(each.witness.point).clamp(0.0, 1.0)
            for own, each in zip(x, found, strict=True)
        ]
        moved, labels = torch.stack(points), y
        if self._x is not None and self._y is not None:
            moved, labels = torch.cat([moved, self._x]), torch.cat([labels, self._y])
        self._x, self._y = moved[:HELD], labels[:HELD]
