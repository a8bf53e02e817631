"""All kinds of attacks by name, and one of them struck."""

from __future__ import annotations

from tests.attacks import asked, cells, convolved, extremes, larger, radii, relaxed
from tests.attacks.kinds import KINDS, strike

__all__ = ["KINDS", "asked", "cells", "convolved", "extremes", "larger", "radii", "relaxed", "strike"]
