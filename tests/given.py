"""Keyword arguments of tests, told apart as limits and engines."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lipreg.budget import Budget
from lipreg.estimators.base import Settings


def as_asked(given: dict[str, Any]) -> dict[str, Any]:
    """``budget`` and ``settings`` made of their fields."""
    engines = {field.name for field in fields(Settings)}
    return {
        "budget": Budget(**{name: value for name, value in given.items() if name not in engines}),
        "settings": Settings(**{name: value for name, value in given.items() if name in engines}),
    }
