"""Native branch and bound for the exact regional constant, in batches of nodes."""

from lipreg.search.engine import Limits, Outcome, Progress, search
from lipreg.search.folded import FoldedNetwork, fold

__all__ = ["FoldedNetwork", "Limits", "Outcome", "Progress", "fold", "search"]
