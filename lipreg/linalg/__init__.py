"""Matrix-free linear maps, their norms, and vector norms by name."""

from lipreg.linalg.maps import Dense, Diagonal, LinearMap, Shape, add, compose, identity
from lipreg.linalg.norms import dual_norm, norm_name, parse_norm, safe_sqrt, vector_norm
from lipreg.linalg.power import PowerIteration

__all__ = [
    "Dense",
    "Diagonal",
    "LinearMap",
    "PowerIteration",
    "Shape",
    "add",
    "compose",
    "dual_norm",
    "identity",
    "norm_name",
    "parse_norm",
    "safe_sqrt",
    "vector_norm",
]
