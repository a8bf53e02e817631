"""Methods of others that lipreg is measured against, and that nobody audits with; loaded when one is asked for by name.

An import of this package puts all of them into the registry.
"""

from lipreg.estimators.yardsticks import clever, frobenius, lipmip, lp_no_triangle, seqlip

__all__ = ["clever", "frobenius", "lipmip", "lp_no_triangle", "seqlip"]
