"""Certificates of the points of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from lipreg.budget import Budget
from lipreg.certificates.refusal import NoCertificate
from lipreg.certificates.writing import Written, certificate_of
from lipreg.estimators import frozen_analysis
from lipreg.estimators.evaluate import Network
from lipreg.problem import LocalLipschitz
from lipreg.results import Certificate, CertifiedInterval
from lipreg.words import counted


@dataclass(frozen=True)
class Certificates:
    """The certificates of an audit.

    Attributes:
        written: by the number of the point.
        lacking: why there is none of the others.
    """

    written: Mapping[int, Written] = field(default_factory=dict)
    lacking: Mapping[int, str] = field(default_factory=dict)

    @staticmethod
    def name(run: str, point: int) -> str:
        """Of the file of a point's certificate, which lies beside the records."""
        return f"{run}_point{point}.certificate.json.gz"

    def save(self, folder: Path, run: str) -> None:
        """Writes all of them into a folder.

        Raises:
            InvalidInput: a path that cannot be written.
        """
        for point, written in self.written.items():
            written.save(folder / self.name(run, point))

    def sentences(self) -> list[str]:
        """How many there are, and why there are no more."""
        count = len(self.written) + len(self.lacking)
        reasons = [f"No certificate of point {point}: {why}" for point, why in self.lacking.items()]
        return [f"{len(self.written)} of {counted(count, 'point')} with a certificate", *reasons]


def certificates_of(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None,
    found: Mapping[int, CertifiedInterval],
    budget: Budget,
) -> Certificates:
    """Certificates of all points whose interval is exact.

    Args:
        network, problem, x, y: what was audited.
        found: what was proved, by the number of the point.
        budget: for writing all of them.
    """
    budget = budget.started()
    analysis = frozen_analysis(network, problem, x, y, where="certificates")
    written, lacking = dict[int, Written](), dict[int, str]()
    for point, interval in found.items():
        if interval.certificate is not Certificate.EXACT:
            lacking[point] = "it is not exact"
            continue
        try:
            placed = analysis.placed[slice(point, point + 1)]
            written[point] = certificate_of(analysis.graph, placed, interval, budget)
        except NoCertificate as error:
            lacking[point] = str(error)
    return Certificates(written, lacking)
