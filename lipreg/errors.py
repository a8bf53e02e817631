"""The errors lipreg raises: each says what was got, where, what is accepted and what to do next."""

from __future__ import annotations


class LipregError(Exception):
    """Base of every error that lipreg raises on purpose.

    Args:
        got: What was found, with the offending value in it.
        where: The object or argument in which it was found.
        accepted: What would have been accepted.
        todo: The next step for the reader.
    """

    def __init__(self, got: str, *, where: str = "", accepted: str = "", todo: str = "") -> None:
        self.got, self.where, self.accepted, self.todo = got, where, accepted, todo
        parts = [f"{where}: {got}" if where else got]
        if accepted:
            parts.append(f"Accepted: {accepted}")
        if todo:
            parts.append(todo)
        super().__init__(" ".join(part if part.endswith("...") else f"{part.rstrip('.')}." for part in parts))

    def __reduce__(self):  # exceptions cross process borders when audits run in workers
        return _rebuild, (type(self), self.got, self.where, self.accepted, self.todo)


def _rebuild(kind: type[LipregError], got: str, where: str, accepted: str, todo: str) -> LipregError:
    return kind(got, where=where, accepted=accepted, todo=todo)


class InvalidInput(LipregError, ValueError):
    """A value that cannot be right: a wrong shape, a NaN, an empty region, an unknown name."""


class UnsupportedRequest(LipregError, NotImplementedError):
    """A method was asked for a scope, norm, output functional or node kind that it does not cover."""


class UnsupportedModel(LipregError, NotImplementedError):
    """A torch module holds calls that are not lowered; the message lists all of them."""


class CrossingBounds(LipregError, ArithmeticError):
    """A lower bound above an upper bound: a defect in an engine or a proof, never to be clipped away.

    Args:
        got, where, accepted, todo: as of every error.
        between: the two records, where it was found in records: whoever read their files can tell the lines. Other processes
            are not told.
    """

    def __init__(
        self,
        got: str,
        *,
        where: str = "",
        accepted: str = "",
        todo: str = "One of the two proofs is wrong. Please report this with the network and the reference point",
        between: tuple[object, ...] = (),
    ) -> None:
        self.between = between
        super().__init__(got, where=where, accepted=accepted, todo=todo)


class IncomparableResults(LipregError, ValueError):
    """Two results answer different questions (scope, norms, region or functional) and were put together."""


class MissingExtra(LipregError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""
