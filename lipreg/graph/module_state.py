"""Modes, buffers and computed weights of a module, which belong to its training: set for a block, and restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from lipreg.errors import UnsupportedModel

OF_WEIGHTS = (SpectralNorm, WeightNorm, BasePruningMethod)
"""The classes of torch's forward pre-hooks that compute weights."""


@contextmanager
def untouched(parts: list[nn.Module]) -> Iterator[None]:
    """Restores the attributes and buffers of modules after the block, in which a forward may count, cache or average."""
    attributes = [(part, dict(part.__dict__), dict(part._buffers)) for part in parts]
    buffers = [b for _, _, own in attributes for b in own.values() if b is not None]
    values = [(buffer, buffer._version, buffer.clone()) for buffer in buffers]
    try:
        yield
    finally:
        for part, before, own in attributes:
            for name in [name for name in part.__dict__ if name not in before]:
                del part.__dict__[name]
            part.__dict__.update(before)
            if [*part._buffers] != [*own] or any(part._buffers[key] is not own[key] for key in own):
                part._buffers.clear()
                part._buffers.update(own)
        for buffer, version, value in values:
            if buffer._version != version:
                buffer.copy_(value)


@contextmanager
def in_double(module: nn.Module) -> Iterator[None]:
    """The module's floating parameters and buffers in float64 inside the block, as copies that nothing trains.

    What the module computes from its weights, parametrizations among it, is then computed in float64 too: the function is
    that of ``module.double()``, of which certificates speak.
    """
    tables: list[dict[str, Any]] = [own for part in module.modules() for own in (part._parameters, part._buffers)]
    kept = [(held, dict(held)) for held in tables]
    copies: dict[int, Tensor] = {}
    try:
        for held, own in kept:
            for name, value in own.items():
                if value is not None and value.is_floating_point():
                    held[name] = copies.setdefault(id(value), value.detach().double())
        yield
    finally:
        for held, own in kept:
            held.clear()
            held.update(own)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; each submodule's own mode is restored after it."""
    modes = {m: m.training for m in module.modules()}
    try:
        _set_modes(dict.fromkeys(modes, False))
        yield
    finally:
        _set_modes(modes)


def _set_modes(modes: Mapping[nn.Module, bool]) -> None:
    for part, training in modes.items():
        if part.training is not training:  # to set an attribute of a module takes much longer than to read it
            part.training = training


@contextmanager
def computed_weights(module: nn.Module) -> Iterator[None]:
    """The weights that torch's old hooks compute at each forward are computed anew for the block, with their gradient.

    These hooks are ``torch.nn.utils.spectral_norm`` and ``weight_norm``, and pruning masks. Outside of the block the
    attributes are what they were: at best the weights of the last forward, whose graph its backward has used up.

    Raises:
        UnsupportedModel: another forward pre-hook on a module whose weight or bias is a plain tensor, which it may
            compute.
    """
    before: list[tuple[nn.Module, str, Any]] = []
    try:
        for path, part in module.named_modules():
            hooks = part._forward_pre_hooks
            for hook in hooks.values() if hooks else ():
                if computes_weights(hook):
                    name = str(getattr(hook, "_tensor_name" if isinstance(hook, BasePruningMethod) else "name"))
                    before.append((part, name, part.__dict__.get(name)))
                    hook(part, ())
            plain = (
                [name for name in ("weight", "bias") if isinstance(part.__dict__.get(name), Tensor)] if hooks else ()
            )
            for name in set(plain) - {name for own, name, _ in before if own is part}:
                raise UnsupportedModel(
                    f"its {name} is a plain tensor, computed at each forward by "
                    f"{' or '.join(qualified_name(hook) for hook in hooks.values())}",
                    where=path or type(part).__name__,
                    accepted="weights that are computed when they are read",
                    todo="Use torch.nn.utils.parametrize.register_parametrization, or one of "
                    "torch.nn.utils.parametrizations",
                )
        yield
    finally:
        for part, name, value in before:
            if value is None:
                part.__dict__.pop(name, None)
            else:
                part.__dict__[name] = value


def qualified_name(function: Any) -> str:
    """The qualified name of a function or hook; of an object without one, its class."""
    return getattr(function, "__qualname__", type(function).__name__)


def computes_weights(hook: Any) -> bool:
    """Whether a hook is one of torch's own that compute weights."""
    return isinstance(hook, OF_WEIGHTS)
