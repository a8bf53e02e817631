"""Points, and what they prove about the constant from below."""

from lipreg.estimators.witnesses import sampling

__all__ = ["sampling"]
