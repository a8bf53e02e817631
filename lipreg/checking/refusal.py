"""The errors of the checker: what it refuses proves nothing."""

from __future__ import annotations


class Refused(Exception):
    """A certificate that is malformed, that holds what this checker does not know, or whose proof fails at a place.

    Args:
        got: what is wrong.
        where: the place in the certificate.
    """

    def __init__(self, got: str, where: str = "certificate") -> None:
        super().__init__(f"{where}: {got}")
        self.got, self.where = got, where


class NotShown(Refused):
    """A proof that float64 with radii does not carry, and whole numbers may: that says nothing against the claim."""


class Damaged(Refused):
    """A file of which no text can be taken: it is empty, cut, or its compressed data do not add up."""
