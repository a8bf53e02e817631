"""Relaxations of the exact program."""

from lipreg.estimators.relaxations import lp

__all__ = ["lp"]
