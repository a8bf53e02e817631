"""Numbers as the tables of the command have them."""

from __future__ import annotations

import math

from lipreg.words import written


def number(value: float) -> str:
    """Five digits; "none" for an end that nothing proves."""
    return "none" if value == math.inf else written(value, 5)
