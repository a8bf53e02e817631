"""The errors lipreg raises: each has what was got, where, what is accepted and what to do next; and
attributes whose earlier names raise one."""

from __future__ import annotations

from typing import Any


class LipregError(Exception):
    """Base of every error that lipreg raises on purpose.

    Args:
        got: what is wrong, with the offending value in it.
        where: the object or argument that has it.
        accepted: what would have been accepted.
        todo: the next step for the reader.
    """

    def __init__(self, got: str, *, where: str = "", accepted: str = "", todo: str = "") -> None:
        self.got, self.where, self.accepted, self.todo = got, where, accepted, todo
        parts = [f"{where}: {got}" if where else got]
        if accepted:
            parts.append(f"Accepted: {accepted}")
        if todo:
            parts.append(todo)
        super().__init__(" ".join(p if p.endswith(("...", "?")) else f"{p.rstrip('.')}." for p in parts))

    def __reduce__(self):  # exceptions cross process borders when audits run in workers
        return _rebuild, (type(self), self.got, self.where, self.accepted, self.todo)


def _rebuild(kind: type[LipregError], got: str, where: str, accepted: str, todo: str) -> LipregError:
    return kind(got, where=where, accepted=accepted, todo=todo)


class InvalidInput(LipregError, ValueError):
    """A value that cannot be right: a wrong shape, a NaN, an empty region, an unknown name."""


class UnsupportedRequest(LipregError, NotImplementedError):
    """A question has a scope, norm, output functional or node kind that the method does not cover."""


class UnsupportedModel(LipregError, NotImplementedError):
    """A torch module holds calls that are not lowered; the message lists all of them."""


PLEASE_REPORT = "One of the two proofs is wrong. Please report this with the network and the reference point"
"""What to do about two proofs of lipreg that contradict each other."""


class CrossingBounds(LipregError, ArithmeticError):
    """A lower bound above an upper bound: a defect in an engine or a proof, never to be clipped away.

    Args:
        got, where, accepted, todo: as of every error.
        between: the two records that contradict each other, where records do: whoever read their files can name the lines.
            The error loses them on its way to another process.
    """

    def __init__(
        self,
        got: str,
        *,
        where: str = "",
        accepted: str = "",
        todo: str = PLEASE_REPORT,
        between: tuple[object, ...] = (),
    ) -> None:
        self.between = between
        super().__init__(got, where=where, accepted=accepted, todo=todo)


class IncomparableResults(LipregError, ValueError):
    """Two results answer different questions (scope, norms, region or functional) and were put together."""


class MissingExtra(LipregError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class RenamedAttribute:
    """An attribute's earlier name, in the body of its class: whoever reads it is told the name of now.

    Args:
        name: of now.

    Raises:
        AttributeError: it is read of an instance; ``hasattr`` and ``getattr`` with a default find nothing.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __set_name__(self, owner: type[Any], former: str) -> None:
        self.former = former

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        if instance is None:
            return self
        raise AttributeError(f"{owner.__name__}.{self.former} is named {self.name} now", name=self.former)
