"""Calls on several rows of every point, lowered for all rows as one tensor, for all together, or row by row."""

from __future__ import annotations

from typing import Any

from lipreg.graph.batches import BatchGroups, Stacked, for_each_step, steps_in
from lipreg.graph.context import Context
from lipreg.graph.lowerings.steps import as_whole, in_stack, in_steps
from lipreg.graph.registry import OWN, TOGETHER, Lowering


def lowered(lower: Lowering, context: Context, module: tuple[Any, ...], args: tuple[Any, ...], kwargs: Any) -> Any:
    """The result of a lowering at a call.

    Args:
        lower: the lowering.
        context: what it builds with.
        module: the layer that is called; empty for functions and methods.
        args, kwargs: the arguments of the call.

    Raises:
        Refusal: it does not cover the call.
    """

    def made(args: tuple[Any, ...], kwargs: Any) -> Any:
        return lower.function(context, *module, *args, **kwargs)

    steps = None if lower.rows == OWN else next(steps_in((args, kwargs)), None)
    first, rest = (args[0], args[1:]) if args else (None, ())
    together = lower.rows == TOGETHER and next(steps_in((rest, kwargs)), None) is None
    if together and isinstance(first, BatchGroups | Stacked) and first[0].shape:
        back = in_steps if isinstance(first, BatchGroups) else in_stack
        return back(context, made((as_whole(context, first), *rest), kwargs))
    if steps is None:
        return made(args, kwargs)
    return for_each_step(lambda own: made(*own), (args, kwargs), len(steps))
