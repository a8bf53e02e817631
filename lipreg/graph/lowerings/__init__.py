"""One function per torch layer. Importing this package registers them all."""

from lipreg.graph.lowerings import activation, arithmetic, linear, normalization, pooling, shape

__all__ = ["activation", "arithmetic", "linear", "normalization", "pooling", "shape"]
