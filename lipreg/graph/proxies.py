"""Traced values, of which Python code may read shapes, dtypes and devices."""

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
    """The part of the tracer that the values of its trace use.

    Attributes:
        examples: the results of the calls so far.
    """

    examples: Examples

    def no_number(self, value: torch.fx.Proxy, explicit: bool = True) -> UnsupportedModel:
        """The error of a forward that makes a Python number of a traced value.

        Args:
            value: the traced value.
            explicit: whether the forward itself asked for the number; torch also tries whether there is one.
        """
        raise NotImplementedError


class _Sizes(tuple[Any, ...]):
    """``x.shape``: numbers, and for the batch axis a traced value."""

    def numel(self) -> Any:
        total: Any = 1
        for size in self:
            total = total * size
        return total

    def __eq__(self, other: object) -> bool:
        """Whether two shapes are equal for every number of points; if it depends on that, a branch on it is refused."""
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
        sizes = super().__getitem__(index)
        return _Sizes(sizes) if isinstance(index, slice) else sizes


def _symbolic(size: Any) -> bool:
    return isinstance(size, torch.fx.Proxy)


class Activation(torch.fx.Proxy):
    """A traced value that knows its shape, dtype and device, wherever its call can be run on zeros.

    Elsewhere these are traced values too, as torch.fx has them.

    Attributes:
        tracer: the tracer of its trace.
    """

    tracer: Tracing
    __array_ufunc__ = None  # so that array * activation is the activation's product

    @property
    def shape(self) -> Any:
        """The sizes, with a traced value for the batch axis; it is noted on the call that they were read."""
        symbolic: Any = Attribute(self, "shape")
        sizes = self.tracer.examples.sizes(self.node)
        if sizes is None:
            return symbolic
        self.node.meta[ANSWERED] = sizes
        return _Sizes(symbolic[axis] if size is None else size for axis, size in enumerate(sizes))

    def size(self, dim: int | None = None) -> Any:
        """``shape``, or its entry ``dim``."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> Any:
        """The number of dimensions, with the batch axis."""
        sizes = self.shape
        return len(sizes) if isinstance(sizes, _Sizes) else Attribute(self, "ndim")

    ndimension = dim

    def cpu(self, *args: Any, **kwargs: Any) -> Any:
        """The value itself: graphs have a device of their own."""
        return self

    cuda = cpu

    @property
    def ndim(self) -> Any:
        """The number of dimensions, with the batch axis."""
        return self.dim()

    def numel(self) -> Any:
        """The number of entries, a traced value where the batch axis is among them."""
        sizes = self.shape
        if isinstance(sizes, _Sizes):
            return sizes.numel()
        return self.tracer.create_proxy("call_method", "numel", (self,), {})

    nelement = numel

    @property
    def dtype(self) -> Any:
        """The dtype; a traced value where it is not known."""
        return self._attribute("dtype")

    @property
    def device(self) -> Any:
        """The device; a traced value where it is not known."""
        return self._attribute("device")

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU of CUDA."""
        return getattr(self.device, "type", "cpu") == "cuda"

    @property
    def requires_grad(self) -> bool:
        """False, as it is for points that a network is given."""
        return False

    def is_floating_point(self) -> bool:
        """Whether entries are floating point numbers."""
        return getattr(self.dtype, "is_floating_point", True)

    def __bool__(self) -> bool:
        """True in an assertion: the module's own forward, which the graph is compared with, checks it."""
        return in_assertion(sys._getframe(1)) or self.tracer.to_bool(self)

    def __int__(self) -> int:
        raise self.tracer.no_number(self)

    __float__ = __int__

    def __index__(self) -> int:
        raise self.tracer.no_number(self, explicit=False)

    def __iter__(self) -> Iterator[Any]:
        count = self.tracer.examples.count(self.node)
        return super().__iter__() if count is None else iter([self[i] for i in range(count)])  # type: ignore[index]

    def __len__(self) -> int:
        """The number of results, for Python where it unpacks them; ``len`` in a forward is replaced by ``recorded``."""
        count = self.tracer.examples.count(self.node)
        if count is None:
            raise TypeError("len of activations: only their shapes are known")
        return count

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})

    def _attribute(self, name: str) -> Any:
        tensors = self.tracer.examples.tensors(self.node)
        return Attribute(self, name) if tensors is None else getattr(tensors[0], name)


def _writing(function: Any) -> Any:
    """The method of an operator such as ``+=``, which torch.fx would take for the operator that writes nowhere."""

    def write(self: Activation, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return write


for _function in PLAIN:
    setattr(Activation, f"__{_function.__name__}__", _writing(_function))
