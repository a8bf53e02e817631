"""Functions of one number that are not piecewise linear: their ranges, those of their slopes, and lines around them."""

from lipreg.curves.curve import Curve, Extreme, Kind
from lipreg.curves.functions import Elu, Erf, Softplus, Softsign, Tanh, Tanhshrink
from lipreg.curves.gated import BentHardswish, Gelu, Hardswish, Mish, Silu
from lipreg.curves.gelu_tanh import CUBE, GeluTanh
from lipreg.curves.kinks import Ramp, Unkinked, unkinked
from lipreg.curves.relaxation import Relaxation, relaxed
from lipreg.curves.secants import secants

__all__ = [
    "CUBE",
    "BentHardswish",
    "Curve",
    "Elu",
    "Erf",
    "Extreme",
    "Gelu",
    "GeluTanh",
    "Hardswish",
    "Kind",
    "Mish",
    "Ramp",
    "Relaxation",
    "Silu",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Unkinked",
    "relaxed",
    "secants",
    "unkinked",
]
