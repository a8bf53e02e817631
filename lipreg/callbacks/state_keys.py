"""The keys under which checkpoints hold the states of callbacks; Lightning asks for them at every hook of every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class StateKey:
    """A key that is made of settings, and made again only where one of them is another object."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._key = ""

    def of(self, make: Callable[..., str], **settings: Any) -> str:
        """The key of these settings, which ``make`` makes of them; ``describe()`` of those that have one."""
        last = self._settings
        if last.keys() != settings.keys() or any(last[name] is not value for name, value in settings.items()):
            self._key = make(**{n: v.describe() if hasattr(v, "describe") else v for n, v in settings.items()})
            self._settings = settings
        return self._key
