"""The penalty as a term of any training loss."""

from lipreg.training.points import ChosenPoints
from lipreg.training.term import Evaluation, LipschitzPenalty

__all__ = ["ChosenPoints", "Evaluation", "LipschitzPenalty"]
