"""Bounds on the Jacobian over the region: by magnitudes, by its linear relaxation, around its centre."""

from lipreg.estimators.jacobians import abs_chain, deviation, fastlip, jacobian_crown, mixing

__all__ = ["abs_chain", "deviation", "fastlip", "jacobian_crown", "mixing"]
