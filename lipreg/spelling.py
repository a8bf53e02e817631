"""Names that a user has misspelt: which was meant, and which there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lipreg.errors import InvalidInput

SHORT, ALIKE = 10, 0.4
"""Names that a message lists all; and the likeness from which on one of more stands before the others."""


def nearest_name(name: str, names: Iterable[str]) -> str:
    """The one of some names that is nearest to what a user wrote; empty if none is near."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), "")


def unknown(name: object, where: str, names: Iterable[str], home: str = "") -> InvalidInput:
    """The error about a name that is none of these, with the one that was probably meant; of many those that are
    nearest come first, and how many more there are.

    Args:
        name: what the user wrote.
        where: the argument, in the message.
        names: those that are accepted.
        home: the registry of all of them as it is imported, for a message that does not list them; empty for none.
    """
    near = sorted(set(names))
    shown = near if len(near) <= SHORT else sorted(near, key=lambda each: -_likeness(name, each))[: SHORT - 3]
    more = f" and {len(near) - len(shown)} more" if len(shown) < len(near) else ""
    todo = f"{home}.all_names() has all of them" if more and home else ""
    return InvalidInput(
        f"got {name!r}{suggestion(name, near)}", where=where, accepted=", ".join(shown) + more, todo=todo
    )


def _likeness(name: object, other: str) -> float:
    """How alike a name is to what a user wrote, in [0, 1]: 0 for what suggests nothing."""
    if not isinstance(name, str):
        return 0.0
    ratio = difflib.SequenceMatcher(None, name, other).ratio()
    return ratio if ratio >= ALIKE else 0.0


def suggestion(name: object, names: Iterable[str]) -> str:
    """A hint for messages, " (did you mean 'log'?)": the one of some names that is nearest; empty if none is near."""
    near = nearest_name(name, names) if isinstance(name, str) else ""
    return f" (did you mean {near!r}?)" if near else ""
