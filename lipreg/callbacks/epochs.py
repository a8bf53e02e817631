"""The moments of a training at which there is an audit."""

from __future__ import annotations

from dataclasses import dataclass

from lipreg.arguments import form_to_write, spelled_arguments
from lipreg.errors import InvalidInput
from lipreg.options import check_count


@spelled_arguments
@dataclass(frozen=True)
class Epochs:
    """The moments of audits: after every so many epochs, and perhaps before the first and after the last.

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
            completed: the number of completed epochs.
            resumed: whether it goes on from a checkpoint of the same run.
        """
        return completed % self.every == 0 if resumed and completed else self.at_start

    @classmethod
    def of(cls, epochs: Epochs | int, where: str) -> Epochs:
        """The moments for an argument that is an ``Epochs``, or a number of epochs.

        Raises:
            InvalidInput: anything else.
        """
        if isinstance(epochs, cls):
            return epochs
        try:
            check_count(epochs, "every_n_epochs", where)
        except InvalidInput as error:
            line = "from lipreg.callbacks import Epochs"
            todo = form_to_write(epochs, cls, "every_n_epochs", "Epochs(every=5)", line)
            raise InvalidInput(error.got, where=where, accepted=f"{error.accepted}, or an Epochs", todo=todo) from None
        return cls(epochs)  # type: ignore[arg-type]
