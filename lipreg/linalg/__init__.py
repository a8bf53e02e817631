"""Matrix-free linear maps, their norms, and vector norms by name."""

from lipreg.linalg.composition import add, compose, is_proof, is_signed_selection
from lipreg.linalg.convolution import Convolution
from lipreg.linalg.diagonal import Diagonal, identity
from lipreg.linalg.differences import map_difference
from lipreg.linalg.joined import Composed, Sum
from lipreg.linalg.limbs import Limbs, digit_bits
from lipreg.linalg.maps import Dense, LinearMap, Shape, feed, same_entries
from lipreg.linalg.norms import dual_norm, norm_name, parse_norm, safe_sqrt, squared_norm, vector_norm
from lipreg.linalg.numbers import Numbers, Plain
from lipreg.linalg.operators import attained_norm, best_direction, best_signs, has_formula, operator_norm, sign_vectors
from lipreg.linalg.places import DecimalArithmetic
from lipreg.linalg.power import PowerIteration
from lipreg.linalg.rows import NodeEntries, Rows, WholeRows, entries
from lipreg.linalg.running import Running
from lipreg.linalg.selection import Gather, Repeated, Transposed, gather
from lipreg.linalg.spectral import SpectralNorm, induced_norm, spectral_norm
from lipreg.linalg.windows import unit_windows

__all__ = [
    "Composed",
    "Convolution",
    "DecimalArithmetic",
    "Dense",
    "Diagonal",
    "Gather",
    "Limbs",
    "LinearMap",
    "NodeEntries",
    "Numbers",
    "Plain",
    "PowerIteration",
    "Repeated",
    "Rows",
    "Running",
    "Shape",
    "SpectralNorm",
    "Sum",
    "Transposed",
    "WholeRows",
    "add",
    "attained_norm",
    "best_direction",
    "best_signs",
    "compose",
    "digit_bits",
    "dual_norm",
    "entries",
    "feed",
    "gather",
    "has_formula",
    "identity",
    "induced_norm",
    "is_proof",
    "is_signed_selection",
    "map_difference",
    "norm_name",
    "operator_norm",
    "parse_norm",
    "safe_sqrt",
    "same_entries",
    "sign_vectors",
    "spectral_norm",
    "squared_norm",
    "unit_windows",
    "vector_norm",
]
