"""Keyword arguments of tests, told apart as limits and engines."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lipreg.budget import Budget
from lipreg.callbacks import AuditLog, Epochs
from lipreg.estimators.settings import Settings
from lipreg.points import Points


def as_asked(given: dict[str, Any]) -> dict[str, Any]:
    """``budget`` and ``settings`` made of their fields."""
    engines = {field.name for field in fields(Settings)}
    return {
        "budget": Budget(**{name: value for name, value in given.items() if name not in engines}),
        "settings": Settings(**{name: value for name, value in given.items() if name in engines}),
    }


def composed(**flat: Any) -> dict[str, Any]:
    """Arguments of ``LipschitzAudit``, from a flat list of what its objects hold; what is no part of one stays."""
    held = {
        "points": (Points, {"which": 8}, ("seed", "batch_to_inputs", "ignore_index")),
        "budget": (Budget, {"seconds": 60.0}, ("gap", "nodes")),
        "settings": (Settings, {}, ("solver", "sdp_solver", "seed")),
        "every_n_epochs": (Epochs, {"every": 1}, ("at_start", "at_end")),
        "log": (AuditLog, {}, ("name", "progress", "metric", "certificates")),
    }
    found = {key: value for key, value in flat.items() if not any(key in names for _, _, names in held.values())}
    if "reference_points" in found:
        found["points"] = found.pop("reference_points")
    for argument, (kind, first, names) in held.items():
        own = {name: flat[name] for name in names if name in flat}
        if own:
            found[argument] = kind(**{name: found.get(argument, value) for name, value in first.items()}, **own)
    return found
