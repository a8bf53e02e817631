"""Watches on modules, so that a structure is read again where the module's function may have changed."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_modules


class Watch:
    """The state of a module that decides its function, apart from its tensors, as it is now.

    That is its submodules, their classes and replaced forwards; the forward hooks; and attributes that are plain numbers
    or texts, which a trace holds as constants. A comparison of a small network takes a few microseconds.

    Args:
        module: the module to watch.
        ignored: attributes to leave out, ``(number of the submodule, name)``.
    """

    def __init__(self, module: nn.Module, ignored: frozenset[tuple[int, str]] = frozenset()) -> None:
        self.ignored = ignored
        parts = list(module.modules())
        self._parts = [(m, type(m), dict(m._modules), m.__dict__.get("forward")) for m in parts]
        self._hooks = [(m._forward_hooks, dict(m._forward_hooks)) for m in parts]
        self._hooks += [(m._forward_pre_hooks, dict(m._forward_pre_hooks)) for m in parts]
        for hooks in (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks):
            self._hooks.append((hooks, dict(hooks)))
        self._plain = [
            (i, m.__dict__, name, value)
            for i, m in enumerate(parts)
            for name, value in m.__dict__.items()
            if type(value) in (bool, int, float, str) and name != "training" and (i, name) not in ignored
        ]

    def same_structure(self) -> bool:
        """Whether the submodules and the forwards are the same."""
        for part, kind, children, forward in self._parts:
            own = part.__dict__
            if type(part) is not kind or own["_modules"] != children or own.get("forward") is not forward:
                return False
        return True

    def same_hooks(self) -> bool:
        """Whether the forward hooks are the same."""
        return all([now == then for now, then in self._hooks])

    def changed(self) -> frozenset[tuple[int, str]]:
        """The attributes that have changed, ``(number of the submodule, name)``."""
        changed = []
        for i, own, name, value in self._plain:
            now = own.get(name)
            if now is not value and (type(now) is not type(value) or now != value):
                changed.append((i, name))
        return frozenset(changed)
