"""The budget that a command's flags mean: what a search may take, read and checked in one place."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any

from lipreg.budget import Budget
from lipreg.errors import InvalidInput

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:e\+?\d{1,2})?) ?((?:(?:[kmgt]i?)?b)?)", re.IGNORECASE)


def budget_of(
    options: argparse.Namespace, stop: Any = None, networks: int = 1, seconds: float = Budget.seconds
) -> Budget:
    """The budget of one of so many networks; without a flag a limit has ``Budget``'s own default.

    Args:
        options: the flags of the command line; of methods without a search some are not there.
        stop: set from outside to end the search; None for none.
        networks: among how many the seconds are shared.
        seconds: those without a flag.

    Raises:
        InvalidInput: no seconds, no whole number of nodes or bytes, or a gap that is none.
    """
    seconds = seconds if options.seconds is None else options.seconds
    if options.seconds is not None and not 0 <= seconds < math.inf:
        raise InvalidInput(f"--seconds {seconds:g}", where="budget", accepted="a finite number of at least 0")
    nodes, gap = getattr(options, "nodes", None), getattr(options, "gap", None)
    if nodes is not None and nodes < 1:
        raise InvalidInput(f"--nodes {nodes}", where="budget", accepted="a whole number of at least 1")
    limits = {"nodes": nodes, "gap": gap, "memory": options.memory and _bytes(options.memory)}
    return Budget(seconds / networks, stop=stop, **{name: value for name, value in limits.items() if value is not None})


def _bytes(text: str) -> int:
    """A size such as 268435456, 1e9, 512MiB, 1.5GiB or 2GB; in letters of either case.

    Raises:
        InvalidInput: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < 1:
        accepted = "bytes, such as 268435456 or 1e9, or a size such as 512MiB, 2GiB or 2GB"
        raise InvalidInput(f"--memory {text}", where="budget", accepted=accepted)
    return size
