"""Native branch and bound for the exact regional constant, in batches of nodes."""

from lipreg.search.engine import search
from lipreg.search.folded import FoldedNetwork, fold
from lipreg.search.limits import Limits, Outcome, Progress

__all__ = ["FoldedNetwork", "Limits", "Outcome", "Progress", "fold", "search"]
