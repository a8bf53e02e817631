"""The Lightning callbacks: a penalty on a bound, and an audit of the truth."""

from typing import Any

from lipreg.callbacks.audit import LipschitzAudit
from lipreg.callbacks.audit_log import AuditLog
from lipreg.callbacks.beside import Beside
from lipreg.callbacks.epochs import Epochs
from lipreg.callbacks.regularizer import LipschitzRegularizer

__all__ = ["AuditLog", "Beside", "Epochs", "LipschitzAudit", "LipschitzRegularizer"]


def __getattr__(name: str) -> Any:
    if name == "ScaleFree":  # ImportError, because "from ... import" drops the words of an AttributeError
        raise ImportError("ScaleFree is part of AuditLog: write log=AuditLog(calibration=..., attack=...)")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
