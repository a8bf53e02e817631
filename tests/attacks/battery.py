"""All kinds of attacks by name, and one of them struck."""

from __future__ import annotations

from tests.attacks import convolved, extremes, larger, radii, relaxed
from tests.attacks.kinds import KINDS, strike

__all__ = ["KINDS", "convolved", "extremes", "larger", "radii", "relaxed", "strike"]
