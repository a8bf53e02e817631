"""Traced values, which Python code may ask for their shapes, dtypes and devices."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from typing import Any

import torch.fx
from torch.fx.proxy import Attribute

from lipreg.errors import UnsupportedModel
from lipreg.graph.calls import ANSWERED
from lipreg.graph.code_lines import in_assertion
from lipreg.graph.examples import Examples
from lipreg.graph.inplace import PLAIN


class Tracing(torch.fx.Tracer):
    """What a traced value asks of the tracer that made it."""

    examples: Examples

    def no_number(self, value: torch.fx.Proxy, asked: bool = True) -> UnsupportedModel:
        """The error of a forward that makes a Python number of a traced value; torch itself tries whether there is one,
        without having been ``asked``."""
        raise NotImplementedError


class _Sizes(tuple[Any, ...]):
    """``x.shape``: numbers, and the batch axis as a traced value."""

    def numel(self) -> Any:
        total: Any = 1
        for size in self:
            total = total * size
        return total

    def __eq__(self, other: object) -> bool:
        """Whether two shapes are one for every number of points; where that depends on it, a branch that is refused."""
        if not isinstance(other, tuple) or len(other) != len(self):
            return False
        pairs = [(a, b) for a, b in zip(self, other, strict=True) if not (_symbolic(a) and _symbolic(b))]
        if any(a != b for a, b in pairs if not (_symbolic(a) or _symbolic(b))):
            return False
        return all(bool(a == b) for a, b in pairs)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Sizes(found) if isinstance(index, slice) else found


def _symbolic(size: Any) -> bool:
    return isinstance(size, torch.fx.Proxy)


class Activation(torch.fx.Proxy):
    """A traced value that knows its shape, dtype and device, wherever these can be found."""

    tracer: Tracing
    __array_ufunc__ = None  # so that array * activation asks the activation

    @property
    def shape(self) -> Any:
        symbolic: Any = Attribute(self, "shape")
        sizes = self.tracer.examples.sizes(self.node)
        if sizes is None:
            return symbolic
        self.node.meta[ANSWERED] = sizes
        return _Sizes(symbolic[axis] if size is None else size for axis, size in enumerate(sizes))

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> Any:
        sizes = self.shape
        return len(sizes) if isinstance(sizes, _Sizes) else Attribute(self, "ndim")

    ndimension = dim

    def cpu(self, *args: Any, **kwargs: Any) -> Any:
        """The same: graphs have a device of their own."""
        return self

    cuda = cpu

    @property
    def ndim(self) -> Any:
        return self.dim()

    def numel(self) -> Any:
        sizes = self.shape
        if isinstance(sizes, _Sizes):
            return sizes.numel()
        return self.tracer.create_proxy("call_method", "numel", (self,), {})

    nelement = numel

    @property
    def dtype(self) -> Any:
        return self._known("dtype")

    @property
    def device(self) -> Any:
        return self._known("device")

    @property
    def is_cuda(self) -> bool:
        return getattr(self.device, "type", "cpu") == "cuda"

    @property
    def requires_grad(self) -> bool:
        """Not of points as a network gets them."""
        return False

    def is_floating_point(self) -> bool:
        return getattr(self.dtype, "is_floating_point", True)

    def __bool__(self) -> bool:
        """An assertion holds: the module's own forward, which the graph is compared with, makes it."""
        return in_assertion(sys._getframe(1)) or self.tracer.to_bool(self)

    def __int__(self) -> int:
        raise self.tracer.no_number(self)

    __float__ = __int__

    def __index__(self) -> int:
        raise self.tracer.no_number(self, asked=False)

    def __iter__(self) -> Iterator[Any]:
        count = self.tracer.examples.count(self.node)
        return super().__iter__() if count is None else iter([self[i] for i in range(count)])  # type: ignore[index]

    def __len__(self) -> int:
        """Of several results, which Python asks for when it unpacks them; ``len`` itself is answered by ``recorded``."""
        count = self.tracer.examples.count(self.node)
        if count is None:
            raise TypeError("len of activations: only their shapes are known")
        return count

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})

    def _known(self, name: str) -> Any:
        found = self.tracer.examples.tensors(self.node)
        return Attribute(self, name) if found is None else getattr(found[0], name)


def _writing(function: Any) -> Any:
    """An operator such as ``+=``, which torch.fx would take for the one that writes nowhere."""

    def write(self: Activation, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return write


for _function in PLAIN:
    setattr(Activation, f"__{_function.__name__}__", _writing(_function))
