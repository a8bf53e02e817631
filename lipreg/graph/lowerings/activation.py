"""ReLU, and layers that are the identity at evaluation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.lowerings.gates import decay_of, risen
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Part, Symbol


@lowers(
    nn.ReLU,
    example=Example(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), (4,)),
    rows="together",
    parts=True,
)
def lower_relu(context: Context, module: nn.ReLU, x: Symbol | Part) -> Symbol:
    """max(x, 0), entry by entry; see ``lower_relu_call``."""
    return lower_relu_call(context, x)


@lowers(F.relu, torch.relu, torch.relu_, "relu", "relu_", rows="together", parts=True)
def lower_relu_call(context: Context, input: Symbol | Part, inplace: bool = False) -> Symbol:
    """max(x, 0), entry by entry; of a step to an ELU, what ``decay_of`` makes of it."""
    if isinstance(input, Part):
        return decay_of(context, input, 0, None)
    return risen(context.relu(input), input)


@lowers(
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AlphaDropout,
    nn.Identity,
    example=Example(
        lambda: nn.Sequential(
            nn.Dropout(0.5),
            nn.Dropout2d(),
            nn.Linear(3, 3),
            nn.Identity(),
            nn.ReLU(),
            nn.AlphaDropout(),
            nn.Flatten(2),
            nn.Dropout1d(),
        ),
        (2, 3, 3),
    ),
)
def lower_identity(context: Context, module: nn.Module, x: Symbol) -> Symbol:
    """x itself: dropout is off in a bound, as at evaluation."""
    return x


@lowers(F.dropout)
def lower_dropout_call(
    context: Context, input: Symbol, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Symbol:
    """x itself.

    Raises:
        Refusal: dropout stays on at evaluation.
    """
    if training:  # networks are traced in evaluation mode
        raise Refusal("settings", "dropout that stays on at evaluation; pass training=self.training")
    return input


class _Calls(nn.Module):
    """The functional and method forms."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.a(x)), training=self.training)
        y = torch.relu(self.b(x)) + self.b(-x).relu() + torch.relu_(self.b(2 * x)) + self.b(x + 1).relu_()
        return self.c(y + F.relu(x))


lowers(example=Example(_Calls, (4,)))(lower_relu_call)
