"""How arguments of earlier versions that an executor has now are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from lipreg.arguments import Moved, shown


def moved_workers(*more: str) -> Moved:
    """The arguments ``workers``, ``address`` and the ``more`` that an audit beside a training had: parts of ``executor``."""

    def form(arguments: Mapping[str, Any]) -> tuple[str, str]:
        inner, imports = _executor(arguments)
        if not any(name in arguments for name in more):
            return f"executor={inner}", imports
        beside = {n: arguments[n] for n in more[1:] if n in arguments}
        if not arguments.get("background", True):
            return f"executor={inner}", imports
        options = ([f"executor={inner}"] if inner != "'inline'" else []) + [
            f"{n}={shown(v)}" for n, v in beside.items()
        ]
        lines = "; ".join(line for line in ("from lipreg.callbacks import Beside", imports) if line)
        return f"executor=Beside({', '.join(options)})", lines

    return Moved(("workers", "address", *more), "executor", form)


def _executor(arguments: Mapping[str, Any]) -> tuple[str, str]:
    kind, count, address = arguments.get("executor"), arguments.get("workers"), arguments.get("address")
    if not isinstance(kind, str | None):  # an object, whose own options say it
        options = [f"{f.name}={shown(getattr(kind, f.name))}" for f in fields(kind)] if is_dataclass(kind) else []
        name = type(kind).__name__
        return f"{name}({', '.join(options)})", f"from lipreg.auditing import {name}"
    count = 1 if count is None or count == 0 else count
    if kind == "ray" or address is not None:
        options = [shown(count)] if arguments.get("workers") else []
        options += [f"address={shown(address)}"] if address is not None else []
        return f"Ray({', '.join(options)})", "from lipreg.auditing import Ray"
    if kind == "processes" or count != 1:
        return f"Processes({shown(count)})", "from lipreg.auditing import Processes"
    return "'inline'", ""
