"""What a penalty may look at beside the values that it is a penalty of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.labels import classes


class Seen:
    """What a penalty may look at beside the values; in training each part is computed when it is read first.

    Args:
        outputs: of the network at the points, ``(points, outputs)``, in evaluation mode.
        labels: whatever targets the points have, one a point; None without any.
        weights: the network's trained matrices and kernels.
    """

    def __init__(
        self, outputs: Tensor | None = None, labels: Tensor | None = None, weights: Sequence[Tensor] | None = None
    ) -> None:
        self._outputs, self.labels, self._weights = outputs, labels, weights

    @property
    def outputs(self) -> Tensor:
        """The network's outputs at the points, ``(points, outputs)``, differentiable in its parameters."""
        return _required(self._outputs, "outputs")

    @property
    def weights(self) -> Sequence[Tensor]:
        """The trained parameters with two dimensions or more: matrices and kernels."""
        return _required(self._weights, "weights")

    @cached_property
    def margins(self) -> Tensor:
        """f_y - max over j != y of f_j at each point, ``(points,)``, differentiable; y the point's class.

        Raises:
            InvalidInput: labels are missing or no classes.
        """
        outputs = self.outputs
        (points, count), who = outputs.shape, "a penalty that reads margins"
        labelled = classes(self.labels, points, count, who).to(outputs.device).unsqueeze(1)
        return outputs.gather(1, labelled).squeeze(1) - outputs.scatter(1, labelled, -torch.inf).amax(1)


def _required(value: Any, name: str) -> Any:
    if value is None:
        todo = f"Hand it over: penalty(values, Seen({name}=...)); LipschitzPenalty and LipschitzRegularizer do so"
        raise InvalidInput(f"the penalty reads {name}, and values alone were given", where="penalty", todo=todo)
    return value
