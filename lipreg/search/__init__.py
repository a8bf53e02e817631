"""Native branch and bound for the exact constant, regional or pointed, in batches of nodes."""

from lipreg.search.engine import search
from lipreg.search.outcome import Outcome, Progress

__all__ = ["Outcome", "Progress", "search"]
