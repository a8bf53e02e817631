"""The calls that a module's forward makes, traced by torch.fx; Python code in it may ask activations for their shapes.

The size of an axis is a number (``Examples``), unless it grows with the batch: that stays symbolic, so that no number in a
trace depends on how many points there are. Sizes that were read are noted on the call, and compared when it is lowered.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn

from lipreg.errors import LipregError, UnsupportedModel
from lipreg.graph.calls import ANSWERED, CONSTANT, LINE, VALUE
from lipreg.graph.code_lines import line_below, line_of
from lipreg.graph.examples import Examples
from lipreg.graph.held_state import ModuleState
from lipreg.graph.inplace import without_writes
from lipreg.graph.module_state import evaluation_mode, untouched
from lipreg.graph.proxies import Activation, Tracing
from lipreg.graph.random_state import no_network, untouched_random_state
from lipreg.graph.recording import recorded
from lipreg.graph.refusals import check_input_is_one
from lipreg.graph.registry import module_lowering
from lipreg.graph.repeats import without_repeats, without_unread
from lipreg.graph.unwrap import unwrap
from lipreg.linalg import Shape

_TODO = "Move the piecewise linear part into a submodule and pass that (module=... in the callbacks)"


def trace(module: nn.Module, input_shape: Shape) -> torch.fx.Graph:
    """The calls of a module's forward on its first argument, at evaluation; further arguments keep their defaults.

    What a forward computes of its buffers is traced as what it computes of its weights, except for the buffers of which it
    makes Python numbers or branches.

    Raises:
        UnsupportedModel: torch.fx cannot trace it, or it needs further arguments.
    """
    if not any(buffer.is_floating_point() for buffer in module.buffers()):
        return _traced(module, _Tracer(module, input_shape), input_shape)
    number_buffers = set[int]()
    while True:
        tracer = _Tracer(module, input_shape, buffers=True, number_buffers=number_buffers)
        try:
            return _traced(module, tracer, input_shape)
        except UnsupportedModel:
            if tracer.number_buffers == number_buffers:
                return _traced(module, _Tracer(module, input_shape), input_shape)
            number_buffers = tracer.number_buffers


def _traced(module: nn.Module, tracer: _Tracer, input_shape: Shape) -> torch.fx.Graph:
    own = set(module.__dict__)
    try:
        # a branch on self.training is taken as at evaluation
        with warnings.catch_warnings(), evaluation_mode(module), torch.enable_grad():
            warnings.simplefilter("ignore")
            parts = list(module.modules())
            with recorded(module, tracer), untouched(parts), _as_written(), untouched_random_state() as random:
                graph = tracer.trace(module)
                if tracer.refused is not None:  # an except clause of the forward has caught it
                    raise tracer.refused
                _keep_constants(graph, module, own)
            if random.drawn():
                raise no_network(type(module).__name__)
            tracer.check_held()
            check_input_is_one(graph, type(module).__name__)
            graph = without_writes(graph, module, input_shape)
        return without_unread(without_repeats(graph, CONSTANT), ANSWERED)
    except LipregError:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"torch.fx cannot trace its forward{_at(line_of(error))}: {error}",
            where=type(module).__name__,
            accepted="a forward without control flow on tensor values",
            todo=_TODO,
        ) from error


def _as_written() -> AbstractContextManager[Any]:
    """A block in which functions that ``torch.compile`` has wrapped run as they were written; torch.fx would refuse them."""
    compiler = sys.modules.get("torch._dynamo")  # loaded where something is compiled; its import takes seconds
    return nullcontext() if compiler is None else compiler.config.patch(error_on_nested_fx_trace=False)


def _keep_constants(graph: torch.fx.Graph, module: nn.Module, own: set[str]) -> None:
    """Moves tensors that a forward makes for itself from the module, where torch.fx puts them, to notes on their calls."""
    for node in graph.nodes:
        if node.op == "get_attr" and node.target in module.__dict__ and node.target not in own:
            node.meta[VALUE] = module.__dict__[node.target]
    for name in [name for name in module.__dict__ if name not in own and name.startswith("_tensor_constant")]:
        del module.__dict__[name]


class _Tracer(Tracing):
    """The tracer that stops at modules with a lowering and looks inside all others that have Python code of their own.

    Attributes:
        number_buffers: identities of the buffers that a number or a branch was made of, those of earlier traces too.
        refused: the first error that was raised within the forward.
    """

    def __init__(
        self, module: nn.Module, input_shape: Shape, buffers: bool = False, number_buffers: Collection[int] = ()
    ) -> None:
        super().__init__()
        self.buffers = buffers
        self.number_buffers = set(number_buffers)
        self._untraced = frozenset(number_buffers)
        self.examples = Examples(module, input_shape)
        self.refused: UnsupportedModel | None = None
        self._seen: list[tuple[str, str, ModuleState]] = []

    def check_held(self) -> None:
        """Refuses a forward that changes a layer or a tensor that it uses.

        Raises:
            UnsupportedModel: the message names what is changed, and where.
        """
        for path, line, seen in self._seen:
            if changed := seen.changed():
                raise UnsupportedModel(
                    f"its forward changes {', '.join(changed)} of {path or 'itself'} while it runs{line}",
                    where=type(self.root).__name__,
                    accepted="layers whose weights and settings are the same at every call",
                    todo="Use one layer for each setting, or give the function the weights (F.linear(x, weight))",
                )

    def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
        return Activation(node, self)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Traces weights, and with ``buffers`` floating point buffers; those of integers are often positions and counts."""
        numbers = isinstance(attr_val, Tensor) and attr_val.is_floating_point()
        self.proxy_buffer_attributes = self.buffers and numbers and id(attr_val) not in self._untraced
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_lowering(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Traces a module without its hooks, and a wrapped or compiled one as the module inside."""
        m = unwrap(m)
        try:
            self.path_of_module(m)
        except NameError:  # no part of the root, as a Select made in a property: its calls are its caller's
            own = {id(weight) for weight in self.root.parameters()}  # type: ignore[union-attr]
            if any(id(weight) not in own for weight in m.parameters()):
                raise self._refusing(
                    f"its forward calls a {type(m).__name__} whose weights are not among its own{self._here()}",
                    "layers that are attributes of their module, or in an nn.ModuleList or nn.ModuleDict",
                ) from None
            return m.forward(*args, **kwargs)
        if module_lowering(m) is not None:
            self._seen.append((self.path_of_module(m), self._here(), ModuleState(m)))
        return super().call_module(m, m.forward, args, kwargs)

    def create_node(self, *args: Any, **kwargs: Any) -> torch.fx.Node:
        """Notes the line of code of a call, and whether it is under ``torch.no_grad``."""
        node = super().create_node(*args, **kwargs)
        if not torch.is_grad_enabled():
            node.meta[CONSTANT] = True
        node.meta[LINE] = line_below(trace.__code__)
        path, _, name = str(node.target).rpartition(".")
        if node.op == "get_attr" and not name.startswith("_tensor_constant"):  # whose values the trace keeps
            self._seen.append((path, self._here(), ModuleState(self.root.get_submodule(path), name)))  # type: ignore[union-attr]
        return node

    def create_arg(self, a: Any) -> Any:
        """Takes numbers and arrays of numpy as constants, like those of torch."""
        if isinstance(a, torch.fx.Proxy):
            return a.node
        if isinstance(a, np.generic):
            a = a.item()
        return super().create_arg(torch.as_tensor(a) if isinstance(a, np.ndarray) else a)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """Makes the first argument the input; flags and masks keep their defaults, which Python code may branch on."""
        name = _first_argument(root_fn, type(self.root).__name__)
        return root_fn, [self.root, self.create_proxy("placeholder", name, (), {})]

    def length(self, value: torch.fx.Proxy) -> Any:
        """The ``len`` of a traced value: a number of results, or the number of points, which stays symbolic."""
        count = self.examples.count(value.node)
        return self.create_proxy("call_function", len, (value,), {}) if count is None else count

    def kind(self, value: torch.fx.Proxy) -> type:
        """The class of a traced value for ``isinstance``: a tensor, or a tuple of several results."""
        if self.examples.count(value.node) is not None:
            return tuple
        return type(value) if self.examples.tensors(value.node) is None else Tensor

    def _note_buffers(self, node: torch.fx.Node) -> None:
        """Notes the buffers that a call's result is computed of."""
        behind = [node]
        while behind:
            call = behind.pop()
            behind += call.all_input_nodes
            if call.op == "get_attr":
                path, _, name = str(call.target).rpartition(".")
                self.number_buffers.add(id(getattr(self.root.get_submodule(path), name)))  # type: ignore[union-attr]

    def to_bool(self, obj: torch.fx.Proxy) -> bool:
        self._note_buffers(obj.node)
        raise self._refusing(
            f"its forward branches on values of activations, or on the number of points{self._here()}: {obj.node.name}",
            "a forward without control flow on tensor values; branches on shapes, flags and None are covered",
        )

    def _refusing(self, got: str, accepted: str, todo: str = _TODO, noted: bool = True) -> UnsupportedModel:
        """An error to raise within a forward; it is noted as well, for the forward may catch it."""
        error = UnsupportedModel(got, where=type(self.root).__name__, accepted=accepted, todo=todo)
        self.refused = self.refused or (error if noted else None)
        return error

    def no_number(self, value: torch.fx.Proxy, explicit: bool = True) -> UnsupportedModel:
        self._note_buffers(value.node)
        got = f"its forward makes a number of activations, or of how many points there are{self._here()}: {value.node.name}"
        accepted = "x.shape[0] as it is, without int(...), and calls on the whole batch in place of range(x.shape[0])"
        return self._refusing(got, accepted, noted=explicit)

    def iter(self, obj: torch.fx.Proxy) -> Iterator[Any]:
        raise self._refusing(
            f"its forward goes through the points of a batch one by one{self._here()}: {obj.node.name}",
            "a forward that treats all points alike",
            "Where it unpacks (x, y = batch), hold the others fixed: lipreg.Select(network, input=0, fixed={1: y})",
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
