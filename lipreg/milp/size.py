"""The size that a program will have, from counts of units and inputs alone."""

from __future__ import annotations

from dataclasses import dataclass

from lipreg.bounds import Analysis
from lipreg.words import counted, size

NUMBER = 8
"""Bytes of an entry of the folded network's forms, which are dense."""


@dataclass(frozen=True)
class ProgramSize:
    """The size of a single-point analysis's program for one functional.

    Attributes:
        units: how many unstable units there are.
        rows: at most: as with leaky units throughout, and no gradient's sign fixed.
        entries: of the folded network's forms: z over the movable inputs and the units, gradients over the units.
    """

    units: int
    rows: int
    entries: int

    @property
    def memory(self) -> int:
        """The bytes that the forms take."""
        return NUMBER * self.entries

    def __str__(self) -> str:
        return (
            f"{counted(self.units, 'unstable unit')} make a program of up to {counted(self.rows, 'row')}, "
            f"from forms of {size(self.memory)}"
        )


def program_size(analysis: Analysis) -> ProgramSize:
    """The size of the program of a single-point analysis without max pools, before its network is folded."""
    units, inputs = int(analysis.unstable_units()[0]), int(analysis.placed.region.movable[0].sum())
    measured = int((analysis.placed.weights[0] > 0).sum())
    objective = 6 * measured + 1 if analysis.placed.problem.p == 1.0 else 2 * measured
    return ProgramSize(units, 8 * units + objective, units * (inputs + 2 * units + measured))
