"""Lower ends by points: witnesses, and the samplers that choose them."""

from lipreg.estimators.witnesses import sampling

__all__ = ["sampling"]
