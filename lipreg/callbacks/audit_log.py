"""What an audit logs and writes beside the constants, under which names, and what shows its progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from lipreg.arguments import check_switches, moved_fields, spelled_arguments
from lipreg.auditing import Attack
from lipreg.auditing.attack import check_attack
from lipreg.callbacks.calibrating import check_calibration
from lipreg.errors import InvalidInput
from lipreg.points import Points, Which
from lipreg.spelling import unknown
from lipreg.transfer.metric import check_metric


@spelled_arguments
@dataclass(frozen=True)
class AuditLog:
    """What is logged and written of an audit beside the constants, and how it is shown.

    Calibration and attack tell outputs that were merely divided by a number from those of a network that tells less apart.

    Args:
        name: first part of the logged names; it must differ between two audits of one trainer.
        progress: show a bar over the points of an audit, in the trainer's own bar, where there is a terminal.
        metric: name of the logged metric that reports show beside the constants; None takes "val_accuracy", or what fits.
        calibration: how many points of the validation data the outputs are calibrated with at each audit (see
            ``lipreg.calibration``): those that follow the audited ones in the order in which these were drawn, never an
            audited one; their outputs are computed as training does, on its device. Points of your own, as (x, y) or a
            ``Points``, where strengths are chosen by the validation data; None for no calibration.
        attack: how a point of the region with another class is sought; None for not at all.
        certificates: whether files are written beside the records of points that are exact, and named in them, from which
            ``lipreg check`` re-derives both ends; for all of an audit there is as much time again as its budget has.

    Raises:
        InvalidInput: an empty name, or one that is no text; something else than the above.
    """

    name: str = "audit"
    progress: bool = True
    metric: str | None = None
    calibration: Which | Points | None = 1000
    attack: Attack | None = field(default_factory=Attack)
    certificates: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInput(f"name={self.name!r}", where="AuditLog", accepted="a text that is not empty")
        check_switches("AuditLog", progress=self.progress, certificates=self.certificates)
        if self.attack is not None:
            check_attack(self.attack, "AuditLog")
        check_calibration(self.calibration, "AuditLog")
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
            line = "from lipreg.callbacks import AuditLog"
            accepted, todo = "a name that is not empty, or an AuditLog", f'Write log=AuditLog("audit") ({line})'
            if isinstance(log, Mapping) and log:  # its options, as plain data
                names = [f.name for f in fields(cls)]
                if wrong := [name for name in log if name not in names]:
                    raise unknown(wrong[0], "AuditLog", names)
                form, line = moved_fields("log", cls, tuple(names), line).form(log)
                todo = f"Write {form} ({line})"
            raise InvalidInput(f"log={log!r}", where=where, accepted=accepted, todo=todo)
        return cls(log)
