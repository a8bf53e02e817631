"""Packages that some uses alone need: the error where one of them is not installed."""

from __future__ import annotations

from importlib import import_module

from lipreg.ctrl_c import delayed_ctrl_c
from lipreg.errors import MissingExtra


def require(extra: str, package: str, where: str, otherwise: str = "") -> None:
    """Loads a package that an extra brings; stands before the import of its names.

        require("views", "pandas", where="audit_frame")
        import pandas as pd

    Args:
        extra: as ``pip install 'lipreg[extra]'`` takes it.
        package: as it is imported, such as "sklearn".
        where: what needs it.
        otherwise: what can be done in place of installing it.

    Raises:
        MissingExtra: the package is not installed. All else that an import can raise passes: a package that is there and
            does not load, for want of memory or of a package of its own, has another cure.
    """
    try:
        with delayed_ctrl_c():
            import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        todo = f"pip install 'lipreg[{extra}]'" + (f", or {otherwise}" if otherwise else "")
        raise MissingExtra(f"{package} is not installed", where=where, todo=todo) from None
