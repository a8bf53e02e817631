"""Native branch and bound for the exact regional constant, in batches of nodes."""

from lipreg.search.folded import FoldedNetwork, fold
from lipreg.search.search import Limits, Outcome, Progress, search

__all__ = ["FoldedNetwork", "Limits", "Outcome", "Progress", "fold", "search"]
