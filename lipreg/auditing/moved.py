"""How arguments that an executor holds are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from lipreg.arguments import Moved, shown


def moved_workers(*more: str) -> Moved:
    """``workers`` and ``address``, with the ``more`` that an audit beside a training has: parts of ``executor``."""

    def form(given: Mapping[str, Any]) -> tuple[str, str]:
        inner, imports = _executor(given)
        if not any(name in given for name in more):
            return f"executor={inner}", imports
        beside = {n: given[n] for n in more[1:] if n in given}
        if not given.get("background", True):
            return f"executor={inner}", imports
        own = ([f"executor={inner}"] if inner != "'inline'" else []) + [f"{n}={shown(v)}" for n, v in beside.items()]
        lines = "; ".join(line for line in ("from lipreg.callbacks import Beside", imports) if line)
        return f"executor=Beside({', '.join(own)})", lines

    return Moved(("workers", "address", *more), "executor", form)


def _executor(given: Mapping[str, Any]) -> tuple[str, str]:
    kind, count, address = given.get("executor"), given.get("workers"), given.get("address")
    if not isinstance(kind, str | None):  # an object, whose own options say it
        options = [f"{f.name}={shown(getattr(kind, f.name))}" for f in fields(kind)] if is_dataclass(kind) else []
        name = type(kind).__name__
        return f"{name}({', '.join(options)})", f"from lipreg.auditing import {name}"
    count = 1 if count is None or count == 0 else count
    if kind == "ray" or address is not None:
        options = [shown(count)] if given.get("workers") else []
        options += [f"address={shown(address)}"] if address is not None else []
        return f"Ray({', '.join(options)})", "from lipreg.auditing import Ray"
    if kind == "processes" or count != 1:
        return f"Processes({shown(count)})", "from lipreg.auditing import Processes"
    return "'inline'", ""
