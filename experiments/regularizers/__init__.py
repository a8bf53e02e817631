"""Regularisers that are no penalty of the library: dropout, and a callback that does nothing, the twin of all others."""

from experiments.regularizers.baseline import Baseline, Unregularised
from experiments.regularizers.dropout import Dropout

__all__ = ["Baseline", "Dropout", "Unregularised"]
