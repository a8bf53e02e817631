"""The names under which an audit is logged, and what shows its progress."""

from __future__ import annotations

from dataclasses import dataclass

from lipreg.errors import InvalidInput
from lipreg.transfer.metric import check_metric


@dataclass(frozen=True)
class AuditLog:
    """How an audit is logged and shown.

    Args:
        name: first part of the logged names; it must differ between two audits of one trainer.
        progress: show a bar over the points of an audit, in the trainer's own bar, where there is a terminal.
        metric: name of the logged metric that reports show beside the constants; None takes "val_accuracy", or what fits.

    Raises:
        InvalidInput: an empty name, or one that is no text.
    """

    name: str = "audit"
    progress: bool = True
    metric: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInput(f"name={self.name!r}", where="AuditLog", accepted="a text that is not empty")
        if not isinstance(self.progress, bool):
            raise InvalidInput(f"progress={self.progress!r}", where="AuditLog", accepted="True or False")
        check_metric(self.metric, "AuditLog")

    @classmethod
    def of(cls, log: AuditLog | str, where: str) -> AuditLog:
        """The log for an argument that is one, or a name.

        Raises:
            InvalidInput: anything else.
        """
        if isinstance(log, cls):
            return log
        if not isinstance(log, str) or not log:
            raise InvalidInput(f"log={log!r}", where=where, accepted="a name that is not empty, or an AuditLog")
        return cls(log)
