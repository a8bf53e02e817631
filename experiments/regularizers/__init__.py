"""The study of regularisers: which of them moves the true local constant, and which only its own bound?

    python -m experiments.regularizers          # trains and audits, into experiments/results
    python -m experiments.regularizers.views    # remakes the tables of docs/study.md and its figures from there

The regularisers that are no Lipschitz bounds are callbacks in this package, one idea a module.
"""

from experiments.regularizers.adversarial import FastGradientSign, ProjectedGradient
from experiments.regularizers.baseline import Baseline, Unregularised
from experiments.regularizers.dropout import Dropout
from experiments.regularizers.gradients import GradientPenalty, JacobianFrobenius
from experiments.regularizers.weights import WeightDecay, WeightL1

__all__ = [
    "Baseline",
    "Dropout",
    "FastGradientSign",
    "GradientPenalty",
    "JacobianFrobenius",
    "ProjectedGradient",
    "Unregularised",
    "WeightDecay",
    "WeightL1",
]
