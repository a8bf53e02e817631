"""Rows of several steps as one activation of every point, and back."""

from __future__ import annotations

from lipreg.graph.batches import Stacked, Steps
from lipreg.graph.lowerings.arrangement import lower_stack, sliced
from lipreg.graph.symbols import Context, Symbol


def as_whole(context: Context, x: Symbol | Steps | Stacked) -> Symbol:
    """All rows of a point together, ``(batch, rows, *shape)``."""
    if isinstance(x, Symbol):
        return x.reshape((1, *x.shape))
    if isinstance(x, Steps) and x.whole is not None:
        return x.whole
    found = lower_stack(context, x, 1)
    assert isinstance(found, Symbol)
    return found


def in_steps(context: Context, whole: Symbol) -> Symbol | Steps:
    """Rows ``(batch, rows, *shape)`` as rows of the batch; a plain activation where each point has one."""
    return whole.reshape(whole.shape[1:]) if whole.shape[0] == 1 else Steps(_rows(context, whole), whole)


def in_stack(context: Context, whole: Symbol) -> Stacked:
    """Rows ``(batch, rows, *shape)`` as members of a stack."""
    return Stacked(_rows(context, whole))


def _rows(context: Context, whole: Symbol) -> list[Symbol]:
    return [sliced(context, whole, (slice(None), i)) for i in range(whole.shape[0])]
