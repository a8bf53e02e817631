"""An audit that is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from lipreg.auditing import PointAudit
from lipreg.auditing.points import certificate_sentences
from lipreg.records import AuditRecord
from lipreg.results import Certificate


@dataclass(frozen=True)
class FinishedAudit:
    """An audit that is over, and its results.

    Attributes:
        epoch, step: completed epochs and steps of the audited weights.
        seconds: how long it took.
        points: what was proved, one for each reference point.
        records: of all points, on the process that writes them; empty on others.
    """

    epoch: int
    step: int
    seconds: float
    points: list[PointAudit]
    records: list[AuditRecord] = field(default_factory=list)

    def sentence(self) -> str:
        """Its result, in a line for a log."""
        exact, count = sum(point.combined.certificate is Certificate.EXACT for point in self.points), len(self.points)
        of = f"{count} point{'s' * (count != 1)}"
        summary = f"audit after epoch {self.epoch}: {exact} of {of} exact, {self.seconds:.1f} s"
        return summary + "".join(f"; {line}" for line in certificate_sentences(self.points))

    @property
    def level(self) -> int:
        """The logging level of that line: a warning where exact points lack the certificates that the plan has."""
        return logging.WARNING if len(certificate_sentences(self.points)) > 1 else logging.INFO
