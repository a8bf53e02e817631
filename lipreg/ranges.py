"""The range of a derivative over a region: its two ends, each an interval with its proof and its witness.

The derivative of one output with respect to one input takes a least and a largest value over the points of the region where
the network is differentiable. Over the region, which is convex, the output never falls along the input exactly if the least
one is at least 0, and never rises exactly if the largest one is at most 0.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.plain import misfits
from lipreg.results import EXACT_TOLERANCE, EXACT_ZERO, Certificate, Status, Witness
from lipreg.words import written

Sign = Literal["increasing", "decreasing", "constant", "both signs", "open"]


@dataclass(frozen=True)
class RangeEnd:
    """One end of a range, the least or the largest derivative: it lies in [lower, upper], numbers of either sign.

    Attributes:
        lower, upper: of the least derivative ``lower`` is proved and ``upper`` attained; of the largest one ``upper`` is
            proved and ``lower`` attained. Infinite where there is no proof or no witness.
        status: how the work on this end ended; BOUNDED where closed forms alone were wanted, or enough.
        proof: what proves the proved side, evaluated by lipreg.
        witness: a differentiable point of the region, and the derivative there, rounded to the safe side.
        detail: one line on how it came about.
    """

    lower: float = -math.inf
    upper: float = math.inf
    status: Status = Status.BOUNDED
    proof: str = ""
    witness: Witness | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.lower) or math.isnan(self.upper):
            raise InvalidInput(f"ends [{self.lower}, {self.upper}]", where="RangeEnd", accepted="numbers")
        if self.lower > self.upper:
            raise CrossingBounds(
                f"lower {self.lower:.12g} exceeds upper {self.upper:.12g} ({self.detail or self.proof})",
                where="RangeEnd",
            )

    @property
    def width(self) -> float:
        """upper - lower."""
        return self.upper - self.lower


@dataclass(frozen=True)
class DerivativeRange:
    """d (output) / d (input) over the region of one reference point lies in [least, largest], and both are attained.

    Attributes:
        question: which derivative, over which region, as plain data: "region", "output", "input" (a flat position), and
            "unit" of the input. Equal questions about equal subjects mean comparable ranges.
        point: index of the reference point.
        output: the functional at this point, in words.
        input: flat position of the input.
        unit: of the input: derivatives are changes of the output for so much of the input.
        least, largest: the two ends.
        subject: a hash of the network and the reference point.

    Raises:
        InvalidInput: a finite proved side without a proof, or an attained one without its witness.
        CrossingBounds: the proved sides cross.
    """

    question: dict[str, Any]
    point: int
    output: str
    input: int
    least: RangeEnd
    largest: RangeEnd
    unit: float = 1.0
    subject: str = ""

    def __post_init__(self) -> None:
        where = f"DerivativeRange of {self.words}"
        for end, proved, seen in (
            (self.least, self.lower, self.least.upper),
            (self.largest, self.upper, self.largest.lower),
        ):
            if math.isfinite(proved) and not end.proof:
                raise InvalidInput(f"{proved:.9g} without a proof", where=where, accepted="proof=...")
            if math.isfinite(seen) and (end.witness is None or end.witness.attained != seen):
                raise InvalidInput(f"{seen:.9g} without a witness that attains it", where=where)
        if self.lower > self.upper:
            raise CrossingBounds(
                f"the least derivative, at least {self.lower:.12g}, exceeds the largest one, at most {self.upper:.12g}",
                where=where,
            )

    @property
    def words(self) -> str:
        """The derivative, in words."""
        per = "" if self.unit == 1.0 else f" per {written(self.unit)}"
        return f"d ({self.output}) / d (input {self.input}){per}"

    @property
    def lower(self) -> float:
        """Proved: the derivative is nowhere below it."""
        return self.least.lower

    @property
    def upper(self) -> float:
        """Proved: the derivative is nowhere above it."""
        return self.largest.upper

    @property
    def size(self) -> float:
        """The larger magnitude of the proved sides, an upper bound on the magnitude of the derivative."""
        return max(abs(self.lower), abs(self.upper))

    @property
    def gap(self) -> float:
        """The wider of the two ends' intervals over ``size``; 0 where the range is known, inf where a side is infinite."""
        width = max(self.least.width, self.largest.width)
        return math.inf if math.isinf(width) else 0.0 if width <= EXACT_ZERO else width / self.size

    @property
    def certificate(self) -> Certificate:
        """EXACT where both ends are known up to ``EXACT_TOLERANCE`` of ``size``; BRACKET with witnesses; else UPPER."""
        if self.gap <= EXACT_TOLERANCE:
            return Certificate.EXACT
        seen = self.least.witness is not None or self.largest.witness is not None
        return Certificate.BRACKET if seen else Certificate.UPPER

    @property
    def increasing(self) -> bool:
        """Proved: the output never falls where this input alone grows, anywhere in the region."""
        return self.lower >= 0

    @property
    def decreasing(self) -> bool:
        """Proved: the output never rises where this input alone grows, anywhere in the region."""
        return self.upper <= 0

    @property
    def both_signs(self) -> bool:
        """Witnessed: the derivative is above 0 at one point of the region and below 0 at another."""
        return self.least.upper < 0 < self.largest.lower

    @property
    def sign(self) -> Sign:
        """What is known of the sign, in a word; "open" where it is neither proved nor refuted."""
        if self.increasing or self.decreasing:
            both = self.increasing and self.decreasing
            return "constant" if both else "increasing" if self.increasing else "decreasing"
        return "both signs" if self.both_signs else "open"

    def plain(self) -> dict[str, Any]:
        """The range as plain JSON data; an end that is infinite is None."""
        data = asdict(self)
        for name in ("least", "largest"):
            end = data[name]
            end |= {side: None if math.isinf(end[side]) else end[side] for side in ("lower", "upper")}
            end["status"] = str(end["status"])
            if end["witness"] is not None:
                end["witness"] = {**end["witness"], "point": list(end["witness"]["point"])}
        return data

    @classmethod
    def of_plain(cls, data: dict[str, Any]) -> DerivativeRange:
        """The range that ``plain`` wrote.

        Raises:
            InvalidInput: ``data`` is none, or has ends that nothing can have proved.
        """
        try:
            ends = {name: _end_of(data[name]) for name in ("least", "largest")}
            derivative = cls(**{**data, **ends})
        except (TypeError, KeyError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"{error!r}", where="DerivativeRange.of_plain", accepted="what plain() wrote") from None
        wrong = [*misfits(derivative), *misfits(derivative.least), *misfits(derivative.largest)]
        if wrong:
            raise InvalidInput(", ".join(wrong), where="DerivativeRange.of_plain", accepted="what plain() wrote")
        return derivative


def _end_of(data: dict[str, Any]) -> RangeEnd:
    sides = {
        name: sign * math.inf if data[name] is None else data[name] for name, sign in (("lower", -1), ("upper", 1))
    }
    witness = data["witness"]
    seen = None if witness is None else Witness(tuple(witness["point"]), witness["attained"])
    return RangeEnd(**{**data, **sides, "status": Status(data["status"]), "witness": seen})
