"""The penalty as a term of any training loss."""

from lipreg.training.points import Choice, ChosenPoints, Points
from lipreg.training.term import Evaluation, LipschitzPenalty

__all__ = ["Choice", "ChosenPoints", "Evaluation", "LipschitzPenalty", "Points"]
