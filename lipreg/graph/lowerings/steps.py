"""The rows of several steps as one tensor of every point, and back."""

from __future__ import annotations

from lipreg.graph.batches import BatchGroups, Stacked
from lipreg.graph.context import Context
from lipreg.graph.lowerings.arrangement import lower_stack, sliced
from lipreg.graph.symbols import Symbol


def as_whole(context: Context, x: Symbol | BatchGroups | Stacked) -> Symbol:
    """The rows of every point as one expression, ``(batch, rows, *shape)``; plain activations have one row."""
    if isinstance(x, Symbol):
        return x.reshape((1, *x.shape))
    if isinstance(x, BatchGroups) and x.whole is not None:
        return x.whole
    whole = lower_stack(context, x, 1)
    assert isinstance(whole, Symbol)
    return whole


def in_steps(context: Context, whole: Symbol) -> Symbol | BatchGroups:
    """Rows ``(batch, rows, *shape)`` as rows of the batch (``Steps``); plain activations where each point has one row."""
    return whole.reshape(whole.shape[1:]) if whole.shape[0] == 1 else BatchGroups(_rows(context, whole), whole)


def in_stack(context: Context, whole: Symbol) -> Stacked:
    """Rows ``(batch, rows, *shape)`` as members of a stack (``Stacked``)."""
    return Stacked(_rows(context, whole))


def _rows(context: Context, whole: Symbol) -> list[Symbol]:
    return [sliced(context, whole, (slice(None), i)) for i in range(whole.shape[0])]
