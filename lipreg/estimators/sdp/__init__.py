"""Semidefinite bounds: LipSDP, whole and in blocks of layers, with multipliers that are repaired and evaluated here."""

from lipreg.estimators.sdp import lipsdp

__all__ = ["lipsdp"]
