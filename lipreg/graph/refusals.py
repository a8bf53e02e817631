"""Why a module cannot be read: all reasons at once, each with its place in the module tree and in the code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import torch.fx
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lipreg.errors import UnsupportedModel
from lipreg.graph.batch_size import BatchSize
from lipreg.graph.batches import BatchGroups, Stacked
from lipreg.graph.calls import ANSWERED, LINE, NamedFields
from lipreg.graph.code_lines import line_within
from lipreg.graph.registry import Refusal
from lipreg.graph.selected import Select
from lipreg.graph.symbols import Indices, Mask, Part, Symbol

_COVERED = (
    "Linear, convolutions, ReLU, PReLU, clamps, abs, max, min, sort, smooth ones (tanh, GELU, ...), BatchNorm, average and "
    "max pooling, reshapes, padding, upsampling, sums, concatenation, constants, identities"
)


_OWN_NAME = re.compile(r"^lower\w*\(\)")
"""The name of a lowering at the beginning of Python's messages about its arguments."""
OF_STACK = (
    "activations stacked before the batch axis (dim=0), of which their mean, their sum (dim=0) and each by its place are "
    "covered; torch.stack(..., dim=1) keeps the batch axis first"
)
"""Why activations stacked in front of the batch axis are refused."""
_OF_BATCH = (
    "arithmetic with the number of points, which no network may depend on; it is covered as the first size of views, "
    "expand, zeros and ones; layers that act on the last axis need no view(batch * steps, ...) around them"
)


def check_input_is_one(trace: torch.fx.Graph, name: str) -> None:
    """Refuses a forward that reads its input by names, as a dict of several inputs.

    Raises:
        UnsupportedModel: the message says how to name the input that moves and to hold the others fixed.
    """
    given = next(node for node in trace.nodes if node.op == "placeholder")
    reads = [node for node in given.users if node.target is operator.getitem and isinstance(node.args[1], str)]
    names = list(dict.fromkeys(repr(node.args[1]) for node in reads))
    if names:
        first, *others = names
        fixed = f", fixed={{{', '.join(f'{name}: ...' for name in others)}}}" if others else ""
        line = f" at {reads[0].meta[LINE]}" if reads[0].meta.get(LINE) else ""
        raise UnsupportedModel(
            f"its forward reads {', '.join(names)} of its input{line}",
            where=name,
            accepted="a forward of one input, (batch, *shape)",
            todo=f"Name the one that moves{' and hold the others fixed' if others else ''}: "
            f"lipreg.Select(network, input={first}{fixed})",
        )


class Problems:
    """The refusals of a network's calls, collected.

    Args:
        name: of the network, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name, self._reasons = name, dict[str, None]()
        self._cause: Exception | None = None
        self._after_refusal, self._now_after = set[torch.fx.Node](), False

    def add(self, node: torch.fx.Node, call: str, refusal: Refusal, cause: Exception | None = None) -> None:
        """Notes why a call is refused; of a call that is made several times at one place, once.

        Behind a refused call refusals of settings are left out, for no more than the shapes is known there.

        Args:
            node: the call.
            call: the name of what is called.
            refusal: of which kind, and why.
            cause: the error that a lowering has raised.
        """
        if self._now_after and refusal.kind == "settings":
            return
        if refusal.kind == "failed":
            self._cause = self._cause or cause
        line = f" (at {node.meta[LINE]})" if node.meta.get(LINE) else ""
        self._reasons[f"  {owner(node) or 'forward'}: {call} [{refusal.kind}] {refusal.why}{line}"] = None

    def look_at(self, node: torch.fx.Node) -> None:
        """Takes note of the call that comes next."""
        self._now_after = not self._after_refusal.isdisjoint(node.all_input_nodes)
        if self._now_after:
            self._after_refusal.add(node)

    def is_refused(self, node: torch.fx.Node) -> None:
        """Takes note that no more than the shape is known of a call's result."""
        self._after_refusal.add(node)

    def check_answer(self, node: torch.fx.Node, value: Any) -> None:
        """Notes a call whose result has another shape than Python code has read while it was traced."""
        answered = node.meta.get(ANSWERED)
        if answered is None or not isinstance(value, Symbol | BatchGroups | Tensor):
            return
        shape = tuple(value.shape) if isinstance(value, Tensor) else (None, *value.shape)
        if shape != answered:
            why = f"it has shape {shape} where its forward went on with {answered}; None is the number of points"
            self.add(node, str(node.target), Refusal("settings", why))

    def check(self) -> None:
        """Raises UnsupportedModel where a call was refused, with all reasons."""
        if self._reasons:
            several = "s" if len(self._reasons) > 1 else ""
            got = "\n".join((f"{len(self._reasons)} unsupported call{several}", *self._reasons))
            if self._cause is None:
                raise UnsupportedModel(got, where=self._name, accepted=_COVERED)
            raise UnsupportedModel(got, where=self._name, todo="Mend the lowering") from self._cause

    def no_tensor(self, output: Any, module: nn.Module) -> UnsupportedModel:
        """The error of a forward that returns anything but one tensor that depends on the input.

        Args:
            output: what it returns.
            module: the network, for advice on how to select an output.
        """
        # torch.fx has subclasses of its own
        kind = next((plain for plain in (dict, list) if isinstance(output, plain)), type(output))
        got, todo = f"forward returns {output.kind if isinstance(output, NamedFields) else kind.__name__}", ""
        if isinstance(output, Symbol):
            got = "forward returns a constant"
        if isinstance(output, dict | tuple | list) and output:
            keys = list(output) if isinstance(output, dict) else list(range(len(output)))
            got += f" with {', '.join(map(repr, keys))}"
            todo = f"Ask about one of them: {_selected(output, _written(module))}"
        return UnsupportedModel(
            got, where=self._name, accepted="one tensor that depends on the input, (batch, outputs)", todo=todo
        )


def _written(module: nn.Module) -> str:
    """A network in the words of its user's code, with the outputs that were selected already."""
    if not isinstance(module, Select) or module.output is None:
        return "network"
    return f"lipreg.Select({_written(module.network)}, output={module.output!r}{', ...' * module.holds_more})"


def _selected(output: Any, network: str) -> str:
    """The code that selects the first tensor of what a network returns."""
    while isinstance(output, dict | tuple | list) and output:
        key, output = next(iter(output.items() if isinstance(output, dict) else enumerate(output)))
        network = f"lipreg.Select({network}, output={key!r})"
    return network


def owner(node: torch.fx.Node) -> str:
    """Path of the module that a call runs, or of the one whose forward makes the call; empty for the outermost."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    return list(stack)[-1] if stack else ""


def callee(node: torch.fx.Node, module: nn.Module) -> str:
    """The name of what is called: of a layer's class, a function or a method."""
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))).__name__
    return getattr(node.target, "__name__", str(node.target))


def leaves(value: Any) -> list[Any]:
    """The values in nested lists, tuples and dicts, in their order."""
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    return [value]


def parts_in(value: Any) -> list[Part]:
    """The steps to written-out activations (``Part``) among arguments, nested ones too."""
    return [leaf for leaf in leaves(value) if isinstance(leaf, Part)]


def check_readable(module: nn.Module) -> None:
    """Refuses modules that have no forward in Python, no weights yet, or weights of whole numbers.

    Raises:
        UnsupportedModel: the message names the first such part.
    """
    for path, part in module.named_modules():
        where = f"{type(module).__name__}, {path!r}" if path else type(module).__name__
        if isinstance(part, torch.jit.ScriptModule):
            got, todo = (
                "it is TorchScript, compiled code without a forward in Python",
                "the module that it was made from",
            )
        elif quantised(part):
            got = f"it is quantised ({type(part).__name__}): it rounds what it computes and has no slopes"
            todo = "the network of floats, or a float copy with weight().dequantize() and bias() of each layer"
        elif any(p is not None and is_lazy(p) for p in part._parameters.values()):
            got, todo = (
                f"the lazy layer {type(part).__name__} has no weights yet",
                "it after one batch has run through it",
            )
        elif strange := [
            t for t in (*part._parameters.values(), *part._buffers.values()) if t is not None and _strange(t)
        ]:
            kind = "on the meta device, without values" if strange[0].is_meta else "complex numbers"
            got, todo = (
                f"weights or buffers of {type(part).__name__} are {kind}",
                "one with weights that are real numbers",
            )
        else:
            continue
        raise UnsupportedModel(got, where=where, accepted="layers of torch with weights of floats", todo=f"Pass {todo}")


def _strange(tensor: Tensor) -> bool:
    """Whether a weight or a buffer holds anything but real numbers."""
    return not is_lazy(tensor) and (tensor.is_meta or tensor.is_complex())


def quantised(part: nn.Module) -> bool:
    """Whether a module is one of torch's that compute in whole numbers."""
    kind = type(part)
    return kind.__module__.startswith("torch.") and ".quantized" in kind.__module__


def refusal_of_error(
    error: Exception, operands: list[Any], given: tuple[Any, ...], lower: Callable[..., Any] | None = None
) -> Refusal:
    """The reason for an error that a lowering, or torch, has raised at a call.

    Args:
        error: the error.
        operands: all values among the arguments, nested ones too.
        given: the arguments themselves.
        lower: the lowering; None without one.
    """
    if any(isinstance(v, Indices | Mask) for v in operands):
        return Refusal("never", "the places of sorted or largest entries, and comparisons, jump")
    if any(isinstance(v, Stacked) for v in given):
        return Refusal("settings", OF_STACK)
    if any(isinstance(v, BatchSize) for v in operands):
        return Refusal("settings", _OF_BATCH)
    own = lower is None or lower.__module__.startswith("lipreg.")
    if lower is not None and not own and (line := line_within(error, lower)):
        return Refusal("failed", f"its lowering {lower.__name__} raises {type(error).__name__} at {line}: {error}")
    return Refusal("settings", _OWN_NAME.sub("it", str(error)) or type(error).__name__)
