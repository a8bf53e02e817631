"""One function per torch layer. Importing this package registers them all."""

from lipreg.graph.lowerings import (
    activation,
    arithmetic,
    arrangement,
    averaging,
    clamping,
    convolution,
    difference,
    linear,
    normalization,
    padding,
    pooling,
    shape,
    smooth,
)

__all__ = [
    "activation",
    "arithmetic",
    "arrangement",
    "averaging",
    "clamping",
    "convolution",
    "difference",
    "linear",
    "normalization",
    "padding",
    "pooling",
    "shape",
    "smooth",
]
