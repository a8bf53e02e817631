"""The penalty as a term of any training loss."""

from lipreg.training.auto import Auto
from lipreg.training.evaluation import Evaluation
from lipreg.training.points import PointSelection
from lipreg.training.term import LipschitzPenalty

__all__ = ["Auto", "Evaluation", "LipschitzPenalty", "PointSelection"]
