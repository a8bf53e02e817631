"""From a torch module to a Graph: traced once by torch.fx, lowered whenever weights are to be read."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from lipreg.errors import InvalidInput, LipregError
from lipreg.graph import lowerings  # noqa: F401  (fills the registry)
from lipreg.graph.agreement import check_agreement
from lipreg.graph.batch_size import BatchSize
from lipreg.graph.batches import OF_STEPS, BatchGroups, Stacked
from lipreg.graph.calls import CONSTANT, NamedFields, alike, casts, read
from lipreg.graph.context import Context
from lipreg.graph.lowerings.by_rows import lowered
from lipreg.graph.module_state import computed_weights, evaluation_mode, in_double
from lipreg.graph.network import Graph
from lipreg.graph.refusals import OF_STACK, Problems, callee, check_readable, leaves, owner, parts_in, refusal_of_error
from lipreg.graph.registry import CALLS, Refusal, module_lowering, refusal_for
from lipreg.graph.stand_ins import StandIns
from lipreg.graph.symbols import Part, Symbol, Symbolic, Unknown
from lipreg.graph.tracing import trace
from lipreg.graph.unwrap import unwrap
from lipreg.graph.watching import Watch
from lipreg.linalg import Shape
from lipreg.linalg.layouts import check_plain_tensor
from lipreg.loading.exported_file import of_program

_OF_SIZES: dict[Any, Callable[..., Any]] = {f: f for f in (operator.mul, operator.floordiv, operator.truediv)}
"""What a forward may compute of the number of points, as ``BatchSize`` does it."""
_WATCHING = ("_traced", "_agreed", "_compared", "_fresh")


class CapturedNetwork:
    """A traced module: its structure is read once, its weights whenever a graph is asked for.

    Attributes:
        module: the module itself; the capture refers to it and never changes it.
        input_shape: shape of one input, without the batch axis.
        trace: the calls that its forward makes; another object after its structure was read again.
        running_statistics: as given to ``capture``.
    """

    def __init__(
        self, module: nn.Module, trace: torch.fx.Graph, input_shape: Shape, running_statistics: bool = False
    ) -> None:
        self.module, self.input_shape = module, input_shape
        self.trace, self.running_statistics = trace, running_statistics
        self._name = type(module).__name__
        self._traced = self._agreed = Watch(module)
        self._compared, self._fresh = False, True

    def __getstate__(self) -> dict[str, Any]:
        """The state without the watches on the module, which refer to all its attributes, a trainer among them."""
        state = {key: value for key, value in self.__dict__.items() if key not in _WATCHING}
        return {**state, "stale": not self._traced.same_structure()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.__dict__.pop("stale"):
            self.trace = trace(self.module, self.input_shape)
        self._traced = self._agreed = Watch(self.module)
        self._compared = self._fresh = False

    def live(self, dtype: torch.dtype | None = None) -> Graph:
        """The graph over the module's own parameters, differentiable, in their dtype and on their device.

        The folded weights are computed anew at each call, so call it once in every training step.
        """
        first = next(self.module.parameters(), None)
        like = torch.zeros(()) if first is None else first.detach().new_zeros(())
        return self._lower(like if dtype is None else like.to(dtype), frozen=False)

    def frozen(self) -> Graph:
        """A detached float64 copy on the CPU: what audits and exact programs work on."""
        with torch.no_grad():
            try:
                with in_double(self.module):  # computations of weights are in float64 too
                    return self._lower(torch.zeros((), dtype=torch.float64), frozen=True)
            except LipregError:  # constants of other dtypes, say
                return self._lower(torch.zeros((), dtype=torch.float64), frozen=True)

    def check(self, x: Tensor, anew: bool = False) -> None:
        """Compares the graph with the module's own forward, unless nothing has changed since that was done last.

        Where they differ the structure is read once more. See ``Watch`` for the changes that are noticed, and
        ``check_agreement`` for what a comparison leaves alone.

        Args:
            x: points ``(batch, *shape)``; the first few are enough.
            anew: compare in any case.

        Raises:
            InvalidInput: they differ all the same.
        """
        changed: frozenset[tuple[int, str]] = frozenset()
        ignored = self._agreed.ignored
        if not self._agreed.same_structure():
            self.retrace()
            ignored = frozenset()
        elif self._compared:
            changed = self._agreed.changed()
            if not changed and not anew and self._agreed.same_hooks():
                return
            if changed:
                before = self.trace
                self.retrace()
                changed = changed if alike(before, self.trace) else frozenset()
        x = self._as_parameters(x[:4])
        try:
            self._compare(x)
        except InvalidInput:
            self.retrace()
            self._compare(x)
        else:
            ignored |= changed  # counters and notes, which change nothing that is computed
        self._agreed, self._compared = Watch(self.module, ignored), True

    def frozen_at(self, x: Tensor) -> Graph:
        """``frozen()`` of the structure as it is now, compared with the module's own forward at x and beside it.

        Raises:
            InvalidInput: they differ.
        """
        if not self._fresh:  # closures, lists and the like may decide what a forward does, and cannot all be watched
            self.retrace()
        x, graph, self._fresh = self._as_parameters(x), self.frozen(), False
        check_agreement(graph, self.module, x, None, casts(self.trace), double=True)
        return graph

    def retrace(self) -> None:
        """Reads the structure of the module again."""
        self.trace, self._traced = trace(self.module, self.input_shape), Watch(self.module)

    def _as_parameters(self, x: Tensor) -> Tensor:
        parameter = next(self.module.parameters(), x)
        return x.detach().to(parameter.device, parameter.dtype)

    def _compare(self, x: Tensor) -> None:
        with torch.no_grad():
            live = self.live(torch.promote_types(x.dtype, torch.float32))
            check_agreement(live, self.module, x, self.frozen, casts(self.trace))

    def _lower(self, like: Tensor, frozen: bool) -> Graph:
        if not self._traced.same_structure():
            self.retrace()
        in_training = {path for path, module in self.module.named_modules() if module.training}
        # weights computed by a parametrisation (spectral norm) step its state when they are read in training mode
        with evaluation_mode(self.module), computed_weights(self.module):
            return self._interpret(like, frozen, in_training)

    def _interpret(self, like: Tensor, frozen: bool, in_training: set[str]) -> Graph:
        context = Context(self.input_shape, like, frozen)
        problems, output = Problems(self._name), None
        values: dict[torch.fx.Node, Any] = {}
        stand_ins = StandIns(self.trace, self.module, self.input_shape)
        for node in self.trace.nodes:
            args = torch.fx.map_arg(node.args, values.__getitem__)
            kwargs = torch.fx.map_arg(node.kwargs, values.__getitem__)
            match node.op:
                case "placeholder":
                    values[node] = context.input()
                case "get_attr":
                    values[node] = read(node, self.module)
                case "output":
                    output = args[0]
                    for part in parts_in(output):
                        problems.add(*(part.at or (node, "output")), Refusal("never", part.why))
                    if isinstance(output, Stacked):
                        problems.add(node, "output", Refusal("settings", OF_STACK))
                    if isinstance(output, BatchGroups):
                        problems.add(node, "output", Refusal("settings", OF_STEPS.format(len(output))))
                case _:
                    problems.look_at(node)
                    training = owner(node) in in_training
                    context.training = training and not self.running_statistics
                    context.no_grad = CONSTANT in node.meta
                    context.differentiates_statistics = (
                        training and torch.is_grad_enabled() and not (frozen or context.no_grad)
                    )
                    with torch.no_grad() if context.no_grad else nullcontext():
                        value = self._call(context, node, args, kwargs, problems)
                        if isinstance(value, Unknown):
                            problems.is_refused(node)
                            value = stand_ins.of(node, context)
                        if isinstance(value, Part) and value.at is None:
                            value = replace(value, at=(node, callee(node, self.module)))
                        values[node] = value
            problems.check_answer(node, values.get(node))
        several = not isinstance(output, Symbol | Stacked | BatchGroups)
        if several and any(isinstance(part, Symbol) for part in leaves(output)):  # which a Select may make readable
            raise problems.no_tensor(output, self.module)
        problems.check()
        if not isinstance(output, Symbol) or not output.terms:
            raise problems.no_tensor(output, self.module)
        return context.graph(output, self._name, getattr(self.module, "outputs_of", ""))

    def _call(self, context: Context, node: torch.fx.Node, args: Any, kwargs: Any, problems: Problems) -> Any:
        is_module = node.op == "call_module"
        module = self.module.get_submodule(str(node.target)) if is_module else None
        name = type(module).__name__ if is_module else getattr(node.target, "__name__", str(node.target))
        operands = leaves((args, kwargs))
        parts = [v for v in operands if isinstance(v, Part)]
        if isinstance(node.target, type):  # a dataclass or a named tuple of outputs
            return NamedFields(node.target, args, kwargs)
        lower = module_lowering(module) if module is not None else CALLS.get(node.target)
        try:
            if not any(isinstance(v, Symbolic) for v in operands):  # constants are computed now, with their gradient
                call: Any = getattr(args[0], str(node.target)) if node.op == "call_method" else node.target
                call = module.forward if module is not None else call
                return call(*(args[1:] if node.op == "call_method" else args), **kwargs)
            of_sizes = _OF_SIZES.get(node.target)
            if of_sizes is not None and all(isinstance(v, BatchSize | int) for v in operands):
                return of_sizes(*args)
            unused = [] if lower is not None and (not parts or lower.parts) else parts
            for part in unused:
                problems.add(*(part.at or (node, name)), Refusal("never", part.why))
            if lower is None:
                raise refusal_for(name, isinstance(node.target, torch._ops.OpOverload))
            if unused or any(isinstance(v, Unknown) for v in operands):
                return Unknown()  # an earlier refusal; this call itself is covered
            context.call = str(node.target) if is_module else node.name
            if is_module and not args and len(kwargs) == 1:  # layer(input=x)
                args, kwargs = tuple(kwargs.values()), {}
            result = lowered(lower, context, (module,) if is_module else (), args, kwargs)
            symbolic = is_module and any(isinstance(v, Symbol) for v in operands)
            if result is None or (symbolic and not any(isinstance(v, Symbol | Unknown) for v in leaves(result))):
                given = "None" if result is None else f"a {type(result).__name__}"
                raise Refusal("settings", f"its lowering {lower.name} returns {given}, not a symbolic tensor")
            return result
        except Refusal as refusal:
            # a step that leads to no activation is refused at the call that made it
            made = next((part.at for part in parts if part.why == refusal.why), None)
            problems.add(*(made or (node, name)), refusal)
        except LipregError:
            raise
        except Exception as error:  # arguments that the lowering does not take, or that torch refuses
            refusal = refusal_of_error(error, operands, (*args, *kwargs.values()), lower and lower.function)
            problems.add(node, name, refusal, error)
        return Unknown()


def capture(
    module: nn.Module | torch.export.ExportedProgram, example: Tensor, *, running_statistics: bool = False
) -> CapturedNetwork:
    """Reads a module's structure.

    Args:
        module: an ``nn.Module`` whose forward takes one tensor ``(batch, *shape)`` and returns one ``(batch, outputs)``;
            out of any wrappers that training has put around it (``unwrap``). A program of torch.export is taken too.
        example: an input with a batch axis; only its shape is used.
        running_statistics: take batch norm in training mode with its running statistics, as evaluation mode does.
            Without it such a module is refused, whenever its weights are read: its output depends on the whole batch. In
            live graphs sigma's gradient is then that of one that grows with the weights before it, as a batch's does, with
            inputs and units taken as uncorrelated. Of batch norm in evaluation mode sigma is a constant.

    Returns:
        A capture whose ``live()`` and ``frozen()`` graphs compute the module's evaluation-mode function.

    Raises:
        UnsupportedModel: torch.fx cannot trace the forward, or calls in it are not piecewise linear or not covered yet.
            ALL of them are named, with their module paths.
        InvalidInput: the example has no batch axis, or not the width that the first layer takes.
    """
    captured = traced(module, example, running_statistics)
    with torch.no_grad():
        captured.live()
    return captured


def traced(
    module: nn.Module | torch.export.ExportedProgram, example: Tensor, running_statistics: bool = False
) -> CapturedNetwork:
    """``capture`` for those who ask for a graph at once: only then calls that are not covered are refused.

    Args:
        module, example, running_statistics: those of ``capture``, which raises the same.
    """
    if isinstance(module, torch.export.ExportedProgram):
        module = of_program(module)
    if not isinstance(module, nn.Module):
        accepted = "a torch.nn.Module, or a program of torch.export"
        raise InvalidInput(f"got {type(module).__name__}", where="capture", accepted=accepted)
    check_plain_tensor(example, "capture", "an example")
    if example.dim() < 2:
        raise InvalidInput(
            f"example of shape {tuple(example.shape)}", where="capture", accepted="(batch, *input shape)"
        )
    module, shape = unwrap(module), tuple(example.shape[1:])
    check_readable(module)
    return CapturedNetwork(module, trace(module, shape), shape, running_statistics)
