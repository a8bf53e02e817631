"""The Lightning callbacks: a penalty on a bound, and an audit of the truth."""

from lipreg.callbacks.audit import LipschitzAudit
from lipreg.callbacks.regularizer import LipschitzRegularizer

__all__ = ["LipschitzAudit", "LipschitzRegularizer"]
