"""At which moments of a training there is an audit."""

from __future__ import annotations

from dataclasses import dataclass

from lipreg.errors import InvalidInput
from lipreg.options import check_count


@dataclass(frozen=True)
class Epochs:
    """After every so many epochs, and whether before the first and after the last.

    Args:
        every: audit after every so many epochs.
        at_start: audit the untrained network, or whatever else a fit begins with that goes on from no audits of its own.
        at_end: audit the trained network, if that was not done after its last epoch.

    Raises:
        InvalidInput: a number that is none of at least 1, or a switch that is neither True nor False.
    """

    every: int = 1
    at_start: bool = True
    at_end: bool = True

    def __post_init__(self) -> None:
        check_count(self.every, "every", "Epochs")
        for name, value in (("at_start", self.at_start), ("at_end", self.at_end)):
            if not isinstance(value, bool):
                raise InvalidInput(f"{name}={value!r}", where="Epochs", accepted="True or False")

    def due_at_start(self, completed: int, resumed: bool) -> bool:
        """Whether a fit begins with an audit: of the untrained network; of a resumed one, where it would have had one.

        Args:
            completed: epochs.
            resumed: it goes on from a checkpoint of the same run.
        """
        return completed % self.every == 0 if resumed and completed else self.at_start

    @classmethod
    def of(cls, given: Epochs | int, where: str) -> Epochs:
        """The moments that a user means by such an object or by a number of epochs.

        Raises:
            InvalidInput: anything else.
        """
        if isinstance(given, cls):
            return given
        check_count(given, "every_n_epochs", where)
        return cls(given)  # type: ignore[arg-type]
