"""All kinds of attacks by name, and one of them struck."""

from __future__ import annotations

from tests.attacks import extremes, larger, radii, relaxed
from tests.attacks.kinds import KINDS, strike

__all__ = ["KINDS", "extremes", "larger", "radii", "relaxed", "strike"]
