"""How arguments of earlier versions that are now parts of others are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lipreg.arguments import Moved, moved_fields
from lipreg.auditing.moved import moved_workers
from lipreg.budget import Budget
from lipreg.callbacks.audit_log import AuditLog
from lipreg.callbacks.epochs import Epochs
from lipreg.estimators import Settings
from lipreg.points import moved_points


def _moved_log(*names: str) -> Moved:
    """Fields of ``AuditLog`` as arguments beside ``log``, and the object ``scale_free`` that had two more of them."""
    parts = ("calibration", "attack")
    own = moved_fields("log", AuditLog, (*names, *parts), "from lipreg.callbacks import AuditLog", ("name", None))

    def form(keywords: Mapping[str, Any]) -> tuple[str, str]:
        kept = {name: value for name, value in keywords.items() if name != "scale_free"}
        value = keywords.get("scale_free", {})  # the settings of a file, or an object
        if isinstance(value, bool | None):  # True was all of them, as it is now; None and False were none
            value = {} if value else dict.fromkeys(parts)
        held = value if isinstance(value, Mapping) else {name: getattr(value, name, ...) for name in parts}
        return own.form(kept | {name: held[name] for name in parts if name in held})

    return Moved((*names, *parts, "scale_free"), "log", form)


AUDIT_ARGUMENTS = (
    moved_points("reference_points", "batch_to_inputs", "ignore_index", default=8),
    moved_fields("budget", Budget, ("gap", "nodes"), "from lipreg import Budget", ("seconds", 60.0)),
    moved_fields("settings", Settings, ("solver", "sdp_solver", "seed"), "from lipreg import Settings"),
    moved_workers("background", "waiting", "when_busy", "end_limit"),
    moved_fields("every_n_epochs", Epochs, ("at_start", "at_end"), "from lipreg.callbacks import Epochs", ("every", 1)),
    _moved_log("name", "progress", "metric", "certificates"),
)
"""The arguments that ``LipschitzAudit`` had in earlier versions."""
