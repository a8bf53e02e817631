"""Calls that torch.fx does not record by itself, recorded while a forward is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.fx
from torch import Tensor, nn

_FACTORIES = ("zeros", "ones", "rand", "randn")


class Answers(Protocol):
    """The results of Python's functions on traced values."""

    def length(self, value: torch.fx.Proxy) -> Any:
        """The result of ``len``."""
        ...

    def kind(self, value: torch.fx.Proxy) -> type:
        """The class that ``isinstance`` compares with."""
        ...


@contextmanager
def recorded(module: nn.Module, answers: Answers) -> Iterator[None]:
    """``torch.zeros(b, 5)``, ones, random numbers and ``constant.expand(b, 5)`` take traced values in the block.

    torch refuses traced sizes as separate arguments before torch.fx sees them. ``len(x)``, which must return a number, and
    ``isinstance(x, Tensor)`` are replaced in the code of the forwards alone: torch's own code would take a traced value that
    calls itself a tensor for one with memory.

    Args:
        module: the code of its forwards is given another ``len`` and ``isinstance``, unless it has some of its own.
        answers: the results of these on traced values.
    """

    def factory(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*sizes: Any, **kwargs: Any) -> Any:
            traced = _traced(sizes)
            if traced is None:
                return function(*sizes, **kwargs)
            return traced.tracer.create_proxy("call_function", function, sizes, kwargs)

        return _Recorded(function, call)

    def expand(self: Tensor, *sizes: Any, **kwargs: Any) -> Any:
        traced = _traced(sizes)
        if traced is None:
            return base.expand(self, *sizes, **kwargs)
        return traced.tracer.create_proxy("call_method", "expand", (self, *sizes), kwargs)

    def counted(value: Any) -> Any:
        return answers.length(value) if isinstance(value, torch.fx.Proxy) else len(value)

    def of_kind(value: Any, kinds: Any) -> bool:
        traced = isinstance(value, torch.fx.Proxy) and not isinstance(value, kinds)
        return issubclass(answers.kind(value), kinds) if traced else isinstance(value, kinds)

    base: Any = torch._C.TensorBase
    functions = {name: _Recorded.inside(getattr(torch, name)) for name in _FACTORIES}
    scopes, is_tensor = _scopes(module), _Recorded.inside(torch.is_tensor)
    answered = {"len": counted, "isinstance": of_kind}
    own = [(scope, name) for scope in scopes for name in answered if name not in scope]
    try:
        for name, function in functions.items():
            setattr(torch, name, factory(function))
        Tensor.expand = expand  # type: ignore[method-assign]
        torch.is_tensor = _Recorded(is_tensor, lambda value: of_kind(value, Tensor))
        for scope, name in own:
            scope[name] = answered[name]
        yield
    finally:
        for scope, name in own:
            scope.pop(name, None)
        torch.is_tensor = is_tensor
        if "expand" in Tensor.__dict__:
            del Tensor.expand
        for name, function in functions.items():
            setattr(torch, name, function)


class _Recorded:
    """The replacement of a function of torch while a trace lasts; another trace meanwhile reads the function from it."""

    def __init__(self, function: Callable[..., Any], call: Callable[..., Any]) -> None:
        self.function, self._call = function, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    @classmethod
    def inside(cls, function: Callable[..., Any]) -> Callable[..., Any]:
        return function.function if isinstance(function, cls) else function


def _traced(values: tuple[Any, ...]) -> torch.fx.Proxy | None:
    return next((value for value in values if isinstance(value, torch.fx.Proxy)), None)


def _scopes(module: nn.Module) -> list[dict[str, Any]]:
    """The tables of global names that the code of all forwards reads, outside of torch."""
    scopes: dict[int, dict[str, Any]] = {}
    for kind in {kind for part in module.modules() for kind in type(part).__mro__}:
        scope = getattr(kind.__dict__.get("forward"), "__globals__", None)
        if scope is not None and not str(scope.get("__name__")).startswith("torch."):
            scopes[id(scope)] = scope
    return list(scopes.values())
