"""lipreg: train ReLU networks on a bound of their local Lipschitz constant, and see how far the true constant moved.

The question is a ``LocalLipschitz``; ``estimate`` bounds it differentiably, ``certify`` encloses it with certificates,
``audit`` does so at many points under one budget, with a table, records and a page,
``compare`` says how far bound and constant moved between two networks, ``derivative_range`` between which values a
derivative lies, and ``certify`` of ``Difference(f, g)`` how fast two networks can part;
``Select`` takes one input and one output of a network that has several.
The Lightning callbacks are in ``lipreg.callbacks``. Importing this package loads nothing; the first of its names to be read
loads torch and nothing heavier; solvers and Lightning load when they are first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipreg.doors import *  # noqa: F403

__version__ = "0.1.0"

_CALLBACKS = ("LipschitzAudit", "LipschitzRegularizer")
"""Names that people look for here, and that need Lightning."""


def __getattr__(name: str) -> Any:
    """A name that ``lipreg.doors`` offers, or a module that it has loaded: nobody waits for torch before."""
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module 'lipreg' has no attribute {name!r}")
    doors = importlib.import_module("lipreg.doors")
    value = getattr(doors, name) if name == "__all__" or name in doors.__all__ else sys.modules.get(f"lipreg.{name}")
    if value is None:
        todo = f"; write from lipreg.callbacks import {name}" if name in _CALLBACKS else ""
        raise AttributeError(f"module 'lipreg' has no attribute {name!r}{todo}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *importlib.import_module("lipreg.doors").__all__]
