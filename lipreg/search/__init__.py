"""Native branch and bound for the exact constant, regional or pointed, in batches of nodes."""

from lipreg.search.engine import branch_and_bound
from lipreg.search.outcome import SearchOutcome, SearchProgress

__all__ = ["SearchOutcome", "SearchProgress", "branch_and_bound"]
