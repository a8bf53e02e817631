"""Searches that end with the constant itself, or with an interval: branch and bound, and mixed-integer programs."""

from lipreg.estimators.exact import branch_and_bound, mip, mip_pointed

__all__ = ["branch_and_bound", "mip", "mip_pointed"]
