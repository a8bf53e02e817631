"""How a call is lowered that is made on several rows of every point: on all of them as one, together, or row by row."""

from __future__ import annotations

from typing import Any

from lipreg.graph.batches import Stacked, Steps, for_each_step, steps_in
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
from lipreg.graph.symbols import Context

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
"""The lowerings that know of ``Steps``."""

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
"""Those that know of ``Part``."""

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
"""Those that act on entries, or on the last axis: one node of all rows is much faster than a node a row."""


def lowered(lower: Lowering, context: Context, module: tuple[Any, ...], args: tuple[Any, ...], kwargs: Any) -> Any:
    """What a lowering makes of a call.

    Args:
        lower: the lowering.
        context: it lowers into.
        module: the module that is called, if one is.
        args, kwargs: of the call.

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
