"""SVG files beside each other."""

from __future__ import annotations

import re

import numpy as np


def same_drawing(kept: str, made: str) -> bool:
    """Whether two SVG files differ in nothing but last digits, which another processor rounds otherwise.

    The names of clipped areas are hashes of such digits; their count and their order stay.
    """
    number = r"-?\d+\.\d+"
    kept, made = (re.sub(r"\bp[0-9a-f]{10}\b", "area", text) for text in (kept, made))
    digits = (np.array(re.findall(number, text), dtype=float) for text in (kept, made))
    return re.sub(number, "", kept) == re.sub(number, "", made) and bool(np.allclose(*digits, rtol=1e-5, atol=1e-4))
