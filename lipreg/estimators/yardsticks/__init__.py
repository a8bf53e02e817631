"""Methods of others that lipreg is measured against, and that nobody audits with; loaded when one is asked for by name.

Whoever wants all of them in the registry imports this package.
"""

from lipreg.estimators.yardsticks import clever, frobenius, lipmip, lp_no_triangle, seqlip

__all__ = ["clever", "frobenius", "lipmip", "lp_no_triangle", "seqlip"]
