"""Lower ends by points: witnesses, and the samplers that choose them."""

from lipreg.estimators.witnesses import sampling
from lipreg.estimators.witnesses.witness import witnesses

__all__ = ["sampling", "witnesses"]
