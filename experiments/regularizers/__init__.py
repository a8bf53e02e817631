"""The study of regularisers: which of them moves the true local constant, and which only its own bound?

    python -m experiments.regularizers          # trains and audits, into experiments/results
    python -m experiments.regularizers.views    # remakes the tables of docs/study.md and its figures from there

All but dropout are penalties of the library; the twin of all others is a callback that does nothing.
"""

from experiments.regularizers.baseline import Baseline, Unregularised
from experiments.regularizers.dropout import Dropout

__all__ = ["Baseline", "Dropout", "Unregularised"]
