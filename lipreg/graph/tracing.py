"""The calls that a module's forward makes, traced by torch.fx; Python code in it may ask activations for their shapes.

Every axis answers with a number (``Examples``), except those that grow with the batch, which stay symbolic: no number in a
trace is one of points. What was answered is noted on the call, and whoever lowers it compares.
"""

from __future__ import annotations

import inspect
import operator
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn
from torch.fx.proxy import Attribute

from lipreg.errors import LipregError, UnsupportedModel
from lipreg.graph.agreement import evaluation_mode
from lipreg.graph.code_lines import in_assertion, line_below, line_of
from lipreg.graph.examples import VALUE, Examples
from lipreg.graph.inplace import LINE, PLAIN, without_writes
from lipreg.graph.recording import recorded
from lipreg.graph.registry import module_lowering
from lipreg.graph.repeats import without_repeats, without_unread
from lipreg.graph.unwrap import unwrap
from lipreg.linalg import Shape

CONSTANT, ANSWERED = "no_grad", "shape"
"""Notes on calls (``meta``): made under ``torch.no_grad``, where weights are constants; the shape that Python code was told,
with None for axes that stayed symbolic. Beside these, the line of code (``LINE``) and the tensor it reads (``VALUE``)."""
_TODO = "Move the piecewise linear part into a submodule and pass that (module=... in the callbacks)"


def trace(module: nn.Module, input_shape: Shape) -> torch.fx.Graph:
    """The calls of a module's forward on its first argument, at evaluation; further arguments keep their defaults.

    Raises:
        UnsupportedModel: torch.fx cannot trace it, or it needs further arguments.
    """
    tracer, own = _Tracer(module, input_shape), set(module.__dict__)
    try:
        # a branch on self.training is taken as at evaluation
        with warnings.catch_warnings(), evaluation_mode(module), torch.enable_grad(), recorded(module, tracer):
            warnings.simplefilter("ignore")
            found = tracer.trace(module)
            _keep_constants(found, module, own)
            found = without_writes(found, module, input_shape)
        return without_unread(without_repeats(found, CONSTANT), ANSWERED)
    except LipregError:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"torch.fx cannot trace its forward{_at(line_of(error))}: {error}",
            where=type(module).__name__,
            accepted="a forward without control flow on tensor values",
            todo=_TODO,
        ) from error


def _keep_constants(found: torch.fx.Graph, module: nn.Module, own: set[str]) -> None:
    """Tensors that a forward makes for itself, which torch.fx leaves in the module as attributes, moved to their calls."""
    for node in found.nodes:
        if node.op == "get_attr" and node.target in module.__dict__ and node.target not in own:
            node.meta[VALUE] = module.__dict__[node.target]
    for name in [name for name in module.__dict__ if name not in own and name.startswith("_tensor_constant")]:
        del module.__dict__[name]


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


class _Activation(torch.fx.Proxy):
    """A traced value that knows its shape, dtype and device, wherever these can be found."""

    tracer: _Tracer
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

    def is_floating_point(self) -> bool:
        return getattr(self.dtype, "is_floating_point", True)

    def __bool__(self) -> bool:
        """An assertion holds: the module's own forward, which the graph is compared with, makes it."""
        return in_assertion(sys._getframe(1)) or self.tracer.to_bool(self)

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

    def write(self: _Activation, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return write


for _function in PLAIN:
    setattr(_Activation, f"__{_function.__name__}__", _writing(_function))


class _Tracer(torch.fx.Tracer):
    """Stops at modules that have a lowering; looks inside all others that have Python code of their own."""

    def __init__(self, module: nn.Module, input_shape: Shape) -> None:
        super().__init__()
        self.examples = Examples(module, input_shape)

    def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
        return _Activation(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_lowering(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reads a module without its hooks, and one that is wrapped, or compiled in place, as what it was before."""
        m = unwrap(m)
        return super().call_module(m, m.forward, args, kwargs)

    def create_node(self, *args: Any, **kwargs: Any) -> torch.fx.Node:
        """Notes where a call stands, and whether that is under ``torch.no_grad``."""
        node = super().create_node(*args, **kwargs)
        if not torch.is_grad_enabled():
            node.meta[CONSTANT] = True
        node.meta[LINE] = line_below(trace.__code__)
        return node

    def create_arg(self, a: Any) -> Any:
        """Numbers and arrays of numpy are constants like those of torch."""
        if isinstance(a, torch.fx.Proxy):
            return a.node
        if isinstance(a, np.generic):
            a = a.item()
        return super().create_arg(torch.as_tensor(a) if isinstance(a, np.ndarray) else a)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """The first argument is the input; flags and masks keep their defaults, which Python code may branch on."""
        name = _first_argument(root_fn, type(self.root).__name__)
        return root_fn, [self.root, self.create_proxy("placeholder", name, (), {})]

    def length(self, value: torch.fx.Proxy) -> Any:
        """``len`` of a traced value: a number of results, or of points, which stays symbolic."""
        count = self.examples.count(value.node)
        return self.create_proxy("call_function", len, (value,), {}) if count is None else count

    def kind(self, value: torch.fx.Proxy) -> type:
        """What ``isinstance`` is told of a traced value: a tensor, or a tuple of several."""
        if self.examples.count(value.node) is not None:
            return tuple
        return type(value) if self.examples.tensors(value.node) is None else Tensor

    def to_bool(self, obj: torch.fx.Proxy) -> bool:
        raise UnsupportedModel(
            f"its forward branches on values of activations, or on the number of points{self._here()}: {obj.node.name}",
            where=type(self.root).__name__,
            accepted="a forward without control flow on tensor values; branches on shapes, flags and None are covered",
            todo=_TODO,
        )

    def iter(self, obj: torch.fx.Proxy) -> Iterator[Any]:
        raise UnsupportedModel(
            f"its forward goes through the points of a batch one by one{self._here()}: {obj.node.name}",
            where=type(self.root).__name__,
            accepted="a forward that treats all points alike",
            todo="Where it unpacks (x, y = batch), hold the others fixed: lipreg.Select(network, input=0, fixed={1: y})",
        )

    def _here(self) -> str:
        return _at(line_below(trace.__code__))


def _first_argument(forward: Any, name: str) -> str:
    """The name of a forward's first argument.

    Raises:
        UnsupportedModel: it has none, or others without defaults.
    """
    arguments = list(inspect.signature(forward).parameters.values())[1:]
    if not arguments or arguments[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        got, accepted = "its forward takes no argument by its place", "a forward of one input, (batch, *shape)"
        raise UnsupportedModel(
            got, where=name, accepted=accepted, todo="Wrap it in a module whose forward takes one tensor"
        )
    first, *further = arguments
    needed = [p.name for p in further if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        raise UnsupportedModel(
            f"its forward needs {', '.join(map(repr, needed))} beside {first.name!r}",
            where=name,
            accepted="a forward of one input, (batch, *shape)",
            todo=f"Hold the others fixed: lipreg.Select(network, fixed={{{needed[0]!r}: ...}})",
        )
    return first.name


def _at(line: str) -> str:
    return f" at {line}" if line else ""
