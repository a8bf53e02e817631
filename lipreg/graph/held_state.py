"""What a layer's function is made of at the moment when a forward calls it: its tensors and its plain settings.

A trace notes which layer is called, and its weights and settings are read later. A forward that changes them for one call,
and back, or puts others in their place, would be read as what it is not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, type(None))
_NOTES = ("training", "num_batches_tracked")


class Seen:
    """A layer, or a tensor of a module, as a call has seen it.

    Args:
        module: the layer, or the module that has the tensor.
        name: of the tensor; None for all that the layer has.
    """

    def __init__(self, module: nn.Module, name: str | None = None) -> None:
        self._module, self._name = module, name
        self._state = self._now()

    def changed(self) -> list[str]:
        """The names of what is not as it was seen."""
        now = self._now()
        return [name for name in self._state if name not in now or now[name] != self._state[name]]

    def _now(self) -> dict[str, Any]:
        if self._name is not None:
            return {self._name: _mark(_own(self._module).get(self._name))}
        found: dict[str, Any] = {}
        for path, part in self._module.named_modules():
            for name, value in _own(part).items():
                if name not in _NOTES and (isinstance(value, Tensor) or _plain(value)):
                    found[f"{path}.{name}" if path else name] = _mark(value)
        return found


def _own(module: nn.Module) -> dict[str, Any]:
    """Its attributes, which a trace would answer for otherwise."""
    return {**module.__dict__, **module._parameters, **module._buffers}


def _plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_plain, value)))


def _mark(value: Any) -> Any:
    """A setting itself; of a tensor its shape and sums over its entries, which other numbers do not have."""
    if not isinstance(value, Tensor):
        return value
    with torch.no_grad():
        flat = value.detach().flatten()
        if value.is_meta or value.is_complex() or not flat.numel():
            return tuple(value.shape)
        flat = flat.to(torch.float64) if flat.is_floating_point() else flat.to(torch.int64)
        places = torch.arange(1, len(flat) + 1, device=flat.device).remainder(1009).to(flat.dtype)
        sums = torch.stack([flat.sum(), (flat * places).sum(), flat.abs().sum()]).tolist()
        return tuple(value.shape), *map(repr, sums)  # NaN is as it was, too
