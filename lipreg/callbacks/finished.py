"""An audit that is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from lipreg.auditing import PointAudit
from lipreg.auditing.points import certificate_sentences
from lipreg.records import AuditRecord
from lipreg.results import Certificate


@dataclass(frozen=True)
class Finished:
    """An audit that is over: the completed epochs and the step of its weights, and what came of it.

    Attributes:
        records: of all points, on the process that writes them.
    """

    epoch: int
    step: int
    seconds: float
    points: list[PointAudit]
    records: list[AuditRecord] = field(default_factory=list)

    def sentence(self) -> str:
        """What came of it, in a line for a log."""
        exact, count = sum(point.exact.certificate is Certificate.EXACT for point in self.points), len(self.points)
        of = f"{count} point{'s' * (count != 1)}"
        told = f"audit after epoch {self.epoch}: {exact} of {of} exact, {self.seconds:.1f} s"
        return told + "".join(f"; {line}" for line in certificate_sentences(self.points))

    @property
    def level(self) -> int:
        """Of that line: a warning where exact points lack the certificates that were asked for."""
        return logging.WARNING if len(certificate_sentences(self.points)) > 1 else logging.INFO
