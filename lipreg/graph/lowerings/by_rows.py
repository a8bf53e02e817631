"""Calls on several rows of every point, lowered for all rows as one tensor, for all together, or row by row."""

from __future__ import annotations

from typing import Any

from lipreg.graph.batches import Stacked, Steps, for_each_step, steps_in
from lipreg.graph.context import Context
from lipreg.graph.lowerings import (
    activation,
    arithmetic,
    casts,
    clamping,
    comparing,
    exponentials,
    leaky,
    linear,
    masking,
    shape,
    smooth,
)
from lipreg.graph.lowerings.steps import as_whole, in_stack, in_steps
from lipreg.graph.registry import Lowering

OF_ALL_ROWS = frozenset(
    (
        shape.lower_flatten,
        shape.lower_flatten_call,
        shape.lower_unflatten,
        shape.lower_unflatten_call,
        shape.lower_reshape,
        shape.lower_reshape_as,
        shape.lower_getattr,
        shape.lower_length,
    )
)
"""The lowerings that take ``Steps`` themselves."""

OF_PARTS = frozenset(
    (
        arithmetic.lower_add,
        arithmetic.lower_sub,
        arithmetic.lower_reversed_sub,
        arithmetic.lower_neg,
        arithmetic.lower_mul,
        arithmetic.lower_div,
        casts.lower_cast,
        casts.lower_single,
        smooth.lower_tanh,
        smooth.lower_tanh_call,
        activation.lower_relu,
        activation.lower_relu_call,
        clamping.lower_clamp,
        clamping.lower_clamp_min,
        clamping.lower_clamp_max,
        comparing.lower_maximum,
        comparing.lower_minimum,
        exponentials.lower_log,
        exponentials.lower_log1p,
        exponentials.lower_reciprocal,
        masking.lower_where,
        masking.lower_where_of,
    )
)
"""The lowerings that take a ``Part``; another one refuses it."""

TOGETHER = frozenset(
    (
        activation.lower_relu,
        activation.lower_relu_call,
        leaky.lower_leaky_relu,
        leaky.lower_leaky_relu_call,
        linear.lower_linear,
        linear.lower_linear_call,
        smooth.lower_tanh,
        smooth.lower_tanh_call,
        smooth.lower_sigmoid,
        smooth.lower_sigmoid_call,
        smooth.lower_softplus,
        smooth.lower_softplus_call,
        smooth.lower_silu,
        smooth.lower_silu_call,
        smooth.lower_elu,
        smooth.lower_elu_call,
        smooth.lower_gelu,
        smooth.lower_gelu_call,
    )
)
"""The lowerings that act on entries, or on the last axis: one node of all rows is much faster than a node for each."""


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
        return lower(context, *module, *args, **kwargs)

    steps = None if lower in OF_ALL_ROWS else next(steps_in((args, kwargs)), None)
    first, rest = (args[0], args[1:]) if args else (None, ())
    together = lower in TOGETHER and next(steps_in((rest, kwargs)), None) is None
    if together and isinstance(first, Steps | Stacked) and first[0].shape:
        back = in_steps if isinstance(first, Steps) else in_stack
        return back(context, made((as_whole(context, first), *rest), kwargs))
    if steps is None:
        return made(args, kwargs)
    return for_each_step(lambda own: made(*own), (args, kwargs), len(steps))
