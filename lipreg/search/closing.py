"""What closes the nodes of a search: the kinds of leaf that the tree of a proof has."""

from __future__ import annotations

from enum import Enum


class Closing(Enum):
    """What closed a node, which proves it: by that nothing in it is above the cutoff, or that there is nothing in it."""

    WITNESS = "a witness at least as good as the bound it had"
    BRANCHED = "intervals of the gradient, as its parent was branched"
    BOUNDS = "contradicting bounds of pre-activations or inputs"
    CUTS = "multipliers of cuts that have no point in common"
    INTERVALS = "intervals of the gradient"
    PRODUCT = "the gradient with fixed phases multiplied out"
    MAX_CUT = "weights of the max-cut relaxation"
    SWITCHES = "multipliers of the switches"
    CELL = "an activation cell, attained or without a point"
    SECANTS = "intervals of the secants"
    FORMS = "forms of the rise, with multipliers of cuts"
    PIECE = "a linear piece, by multipliers of its program"


STAGES = (Closing.INTERVALS, Closing.PRODUCT, Closing.MAX_CUT)
"""Of gradient bounds, in their order."""
