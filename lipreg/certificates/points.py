"""Certificates of the points of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.certificates.refusal import NoCertificate
from lipreg.certificates.writing import PlainCertificate, certificate_of
from lipreg.results import Certificate, CertifiedInterval
from lipreg.words import counted

NOT_EXACT = "it is not exact"
"""Why most points that lack one have none."""


@dataclass(frozen=True)
class Certificates:
    """The certificates of an audit.

    Attributes:
        written: by the number of the point.
        lacking: why there is none of the others.
    """

    written: Mapping[int, PlainCertificate] = field(default_factory=dict)
    lacking: Mapping[int, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Writes all of them into a folder.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        for written in self.written.values():
            written.save(folder / written.name)

    def numbered(self, points: Sequence[int]) -> Certificates:
        """The same with other numbers: ``points`` in the order of these."""
        written, lacking = ({points[i]: own for i, own in part.items()} for part in (self.written, self.lacking))
        return Certificates(written, lacking)  # type: ignore[arg-type]

    def sentences(self) -> list[str]:
        """How many there are, and why there are no more."""
        count = len(self.written) + len(self.lacking)
        reasons = [f"No certificate of point {point}: {why}" for point, why in self.lacking.items()]
        return [f"{len(self.written)} of {counted(count, 'point')} with a certificate", *reasons]


def certificates_of(
    analysis: Analysis, intervals: Mapping[int, CertifiedInterval], budget: Budget, folder: Path | None = None
) -> Certificates:
    """Certificates of all points whose interval is exact.

    Args:
        analysis: of the points that were audited.
        intervals: what was proved, by the number of the point.
        budget: for writing all of them.
        folder: where they are saved as they come, and may lie from before; None for nowhere.
    """
    budget = budget.started()
    written, lacking = dict[int, PlainCertificate](), dict[int, str]()
    for point, interval in intervals.items():
        if interval.certificate is not Certificate.EXACT:
            lacking[point] = NOT_EXACT
            continue
        try:
            placed = analysis.placed[slice(point, point + 1)]
            written[point] = certificate_of(analysis.graph, placed, interval, budget, folder)
            if folder is not None:
                written[point].save(folder / written[point].name)
        except NoCertificate as error:
            lacking[point] = str(error)
    return Certificates(written, lacking)
