"""The tensors and plain settings of a layer at the moment when a forward calls it.

A trace notes which layer is called, and reads its weights and settings later. A forward that changes them for one call and
then back, or puts others in their place, would be read wrongly; so it is noticed here, and refused.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

_KEPT = (Tensor, bool, int, float, str, type(None))
_NOTES = ("training", "num_batches_tracked")


class ModuleState:
    """A layer, or a tensor of a module, as a call has seen it.

    Args:
        module: the layer, or the module that has the tensor.
        name: of the tensor; None for all that the layer has.
    """

    def __init__(self, module: nn.Module, name: str | None = None) -> None:
        self._module, self._name = module, name
        self._state = self._now()

    def changed(self) -> list[str]:
        """The names of the tensors and settings that have changed since."""
        now = self._now()
        return [name for name in self._state if name not in now or now[name] != self._state[name]]

    def _now(self) -> dict[str, Any]:
        if self._name is not None:
            return {self._name: _mark(_own(self._module).get(self._name))}
        return {
            f"{path}.{name}" if path else name: _mark(value)
            for path, part in self._module.named_modules()
            for own in (part.__dict__, part._parameters, part._buffers)
            for name, value in own.items()
            # most attributes of a module are tables of hooks
            if type(value) is not dict and _kept(value) and name not in _NOTES
        }


def _own(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module, past its ``__getattr__``, which a trace replaces."""
    return {**module.__dict__, **module._parameters, **module._buffers}


def _kept(value: Any) -> bool:
    return isinstance(value, _KEPT) or (isinstance(value, tuple) and all(map(_plain, value)))


def _plain(value: Any) -> bool:
    return isinstance(value, _KEPT[1:]) or (isinstance(value, tuple) and all(map(_plain, value)))


def _mark(value: Any) -> Any:
    """A setting itself; of a tensor its shape and a checksum of its entries, which others hardly share."""
    if not isinstance(value, Tensor):
        return value
    with torch.no_grad():
        flat = value.detach().reshape(-1)
        if value.is_meta or (value.is_complex() and not value.is_cpu) or not flat.numel():
            return tuple(value.shape)
        if flat.device.type == "cpu":
            return tuple(value.shape), crc32(flat.contiguous().view(torch.uint8).numpy().data)
        flat = flat.to(torch.float64) if flat.is_floating_point() else flat.to(torch.int64)
        places = torch.arange(1, len(flat) + 1, device=flat.device).remainder(1009).to(flat.dtype)
        sums = torch.stack([flat.sum(), (flat * places).sum(), flat.abs().sum()]).tolist()
        return tuple(value.shape), *map(repr, sums)  # as text, so that NaN equals itself
