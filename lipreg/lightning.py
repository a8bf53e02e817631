"""Lightning is installed under two names, ``pytorch_lightning`` and ``lightning.pytorch``, each with classes of its own.

A trainer of one package takes callbacks and data modules of that package alone, and its questions about them are answered
by ``isinstance``. Ours are of both: they derive from the class of each package that is installed. Which one a program uses,
and whether it imports it before lipreg or after, makes no difference then, and nothing else here has to know.

Annotations name ``pytorch_lightning``'s classes; those of the other package are the same ones again.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytorch_lightning
from pytorch_lightning.utilities import model_helpers

from lipreg.ctrl_c import delayed_ctrl_c


def _packages() -> tuple[ModuleType, ...]:
    try:
        # 0.3 s beside the first one's 5: nearly all that it loads is loaded already
        with delayed_ctrl_c():
            return pytorch_lightning, import_module("lightning.pytorch")
    except Exception:  # it is not there, or cannot be imported as it is there: then nobody here uses it
        return (pytorch_lightning,)


PACKAGES = _packages()
"""The packages that can be imported, ``pytorch_lightning`` first."""

if TYPE_CHECKING:
    from pytorch_lightning import Callback, LightningDataModule
else:

    class Callback(*(package.Callback for package in PACKAGES)):
        """A callback for the trainers of every package."""

    class LightningDataModule(*(package.LightningDataModule for package in PACKAGES)):
        """A data module for the trainers of every package."""


def classes(name: str) -> tuple[type[Any], ...]:
    """A class of each package, for ``isinstance``.

    Args:
        name: such as "LightningModule", or "callbacks.RichProgressBar" in a module of the package.
    """
    kinds: list[type[Any]] = []
    for package in PACKAGES:
        inside, _, last = name.rpartition(".")
        kinds.append(getattr(import_module(f"{package.__name__}.{inside}" if inside else package.__name__), last))
    return tuple(kinds)


def is_overridden(method: str, module: pytorch_lightning.LightningModule) -> bool:
    """Whether a LightningModule of either package has this method of its own."""
    parent = next((kind for kind in classes("LightningModule") if isinstance(module, kind)), None)
    return model_helpers.is_overridden(method, module, parent)


__all__ = ["PACKAGES", "Callback", "LightningDataModule", "classes", "is_overridden"]
