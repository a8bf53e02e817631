"""Numbers as the tables of the command have them."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Five digits; "none" for an end that nothing proves."""
    return "none" if value == math.inf else f"{value:.5g}"
