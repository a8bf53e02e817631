"""The place in a training where an error of lipreg happened."""

from __future__ import annotations

from typing import Any

from lipreg.errors import LipregError


class ErrorContext:
    """A block in which errors of lipreg name the place in the training before the place that they name themselves.

    Args:
        where: the place, such as an epoch and a batch.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, LipregError):
            where = f"{self.where}: {error.where}" if error.where else self.where
            raise type(error)(error.got, where=where, accepted=error.accepted, todo=error.todo) from error
