"""The Lightning callbacks: a penalty on a bound, and an audit of the truth."""

from lipreg.callbacks.audit import LipschitzAudit
from lipreg.callbacks.audit_log import AuditLog
from lipreg.callbacks.beside import Beside
from lipreg.callbacks.epochs import Epochs
from lipreg.callbacks.regularizer import LipschitzRegularizer
from lipreg.callbacks.scale_free import ScaleFree

__all__ = ["AuditLog", "Beside", "Epochs", "LipschitzAudit", "LipschitzRegularizer", "ScaleFree"]
