"""Branch and bound for networks with curves: boxes of inputs, bounded by the mean value theorem for the Jacobian."""

from lipreg.search.curved.engine import SplitOutcome, split_inputs

__all__ = ["SplitOutcome", "split_inputs"]
