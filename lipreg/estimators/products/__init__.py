"""Products of the layers' norms."""

from lipreg.estimators.products import affine_relu, spectral

__all__ = ["affine_relu", "spectral"]
