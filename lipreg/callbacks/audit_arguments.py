"""How arguments of earlier versions that are now parts of others are written, and the check of those that are texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lipreg.arguments import Moved, moved_fields
from lipreg.auditing.moved import moved_workers
from lipreg.budget import Budget
from lipreg.callbacks.audit_log import AuditLog
from lipreg.callbacks.epochs import Epochs
from lipreg.errors import InvalidInput
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


def check_texts(where: str, **texts: object) -> None:
    """Refuses empty texts and other objects; all but ``run`` may be None, ``folder`` and ``twin`` may be paths.

    Args:
        where: the class that was given them, for the error.
        **texts: the arguments by name.

    Raises:
        InvalidInput: such a text.
    """
    for name, text in texts.items():
        accepted = isinstance(text, str | os.PathLike) if name in ("folder", "twin") else isinstance(text, str) and text
        if not accepted and not (text is None and name != "run"):
            raise InvalidInput(f"{name}={text!r}", where=where, accepted="a text that is not empty")
