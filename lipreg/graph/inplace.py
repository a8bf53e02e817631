"""Calls that write into an existing tensor: a later reader of it reads what was written.

torch.fx records ``y.relu_()`` as one more call, and a later reader of y as one of what y was before. So the calls are run
once, on zeros, and torch counts the writes into each memory. Readers of a tensor that a call has written to and returned
are led to that call, after which all calls can be taken for calls that write nowhere. A write to a part, as
``y[:, :2] = ...``, becomes a new whole (``put``). Where memory is shared in any other way, as by a view, the forward is
refused.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.errors import UnsupportedModel
from lipreg.graph.calls import LINE, run_call, zero_input
from lipreg.graph.examples import untraced
from lipreg.graph.random_state import untouched_random_state
from lipreg.linalg import Shape

POINTS = 2
"""Points of the zeros: with a single one, the batch axis could be squeezed away."""
PLAIN: dict[Any, Any] = {
    getattr(operator, f"i{name}"): getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "matmul", "pow")
}
"""By each operator that writes in place, the one that computes the same and writes nowhere."""


def without_writes(trace: torch.fx.Graph, module: nn.Module, input_shape: Shape) -> torch.fx.Graph:
    """A trace, changed in place, whose readers of a written tensor read the call that wrote last.

    Args:
        trace: the calls of a forward.
        module: the module whose forward it is.
        input_shape: of one input, without the batch axis.

    Returns:
        The trace; its calls can be taken for calls that write nowhere.

    Raises:
        UnsupportedModel: a written tensor is read through another one, or the calls cannot be run on zeros.
    """
    if any(_may_write(node, module) for node in trace.nodes):
        with torch.no_grad(), untouched_random_state(), untraced():
            _lead(trace, module, input_shape)
    for node in trace.nodes:
        node.target = PLAIN.get(node.target, node.target)
    return trace


def _may_write(node: torch.fx.Node, module: nn.Module) -> bool:
    """Whether a call may write into what it is given."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_method", "call_function"):
        return False
    name = str(getattr(node.target, "__name__", node.target))
    in_place = "out" in node.kwargs or any(flag is True for flag in (*node.args, node.kwargs.get("inplace")))
    return in_place or name.endswith("_") or node.target in (*PLAIN, operator.setitem)


def _lead(trace: torch.fx.Graph, module: nn.Module, input_shape: Shape) -> None:
    values: dict[torch.fx.Node, Any] = {}
    held: list[tuple[torch.fx.Node, Tensor]] = []  # the tensors of all values, each with its call
    order = {node: place for place, node in enumerate(trace.nodes)}
    for node in list(trace.nodes):
        if node.op == "output":
            return
        before = _writes(held)
        try:
            values[node] = run_call(node, module, values.__getitem__, lambda: zero_input(module, POINTS, input_shape))
            if node.op == "get_attr" and isinstance(values[node], Tensor):
                values[node] = values[node].clone()
        except Exception as error:  # where nothing is written, the forward itself or a lowering has the better message
            writing = any(_may_write(later, module) for later in trace.nodes if order[later] >= order[node])
            if writing and not _looks_up(node, module):
                raise _refused(module, node, f"cannot be followed on zeros: {error}") from error
            return
        after = _writes(held)
        changed = () if after == before else zip(held, before, after, strict=True)
        written = list(dict.fromkeys(earlier for (earlier, _), one, other in changed if one != other))
        held += [(node, tensor) for tensor in _tensors(values[node])]
        if any(_overlaps(tensor) for earlier in written for tensor in _tensors(values[earlier])):
            raise _refused(module, node, "writes into a view that holds a place of memory more than once")
        parts = _put_back(trace, node, values, written)
        order |= {part: order[node] for part in parts.values()}
        for earlier in written:
            readers = [user for user in earlier.users if order[user] > order[node]]
            if earlier.op == "get_attr":
                raise _refused(module, node, "writes into a tensor of the module's own")
            instead = parts.get(earlier, node if values[earlier] is values[node] else None)
            if instead is not None:
                for user in readers:
                    user.replace_input_with(earlier, instead)
            elif readers:
                raise _refused(module, node, f"writes into memory that is read later, through {earlier.name!r}")
        values |= {part: values[earlier] for earlier, part in parts.items()}
        held += [(part, tensor) for part in parts.values() for tensor in _tensors(values[part])]
        if node.target is operator.setitem:
            trace.erase_node(node)
            del values[node]


def put(tensor: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of a tensor in which a part has other values: ``copy[index] = value``.

    Args:
        tensor: the whole before.
        index: where the part is.
        value: the values there, as an assignment takes them.
    """
    copy = tensor.clone()
    copy[index] = value
    return copy


def _put_back(
    trace: torch.fx.Graph, node: torch.fx.Node, values: dict[torch.fx.Node, Any], written: list[torch.fx.Node]
) -> dict[torch.fx.Node, torch.fx.Node]:
    """Enters calls of ``put`` behind a call that writes to a part of a tensor, each of which makes a whole tensor after it.

    A part is what ``tensor[index]`` is; of parts of parts each whole gets one.

    Returns:
        By each whole that was written to, the call that makes it anew.
    """
    made: dict[torch.fx.Node, torch.fx.Node] = {}
    last = node
    if node.target is operator.setitem:
        part, index, value = node.args
    else:
        read_part = next((e for e in written if values[e] is values[node] and e.target is operator.getitem), None)
        if read_part is None:
            return made
        (part, index), value = read_part.args, node
    while isinstance(part, torch.fx.Node) and part in written:
        with trace.inserting_after(last):
            last = made[part] = trace.call_function(put, (part, index, value))
        last.meta[LINE] = node.meta.get(LINE, "")
        if part.target is not operator.getitem:
            break
        value = last
        part, index = part.args
    return made


_COPY = "Write into a copy (y.clone()), or use the call that gives a new tensor"
_PARTS = (
    "Put the parts together instead: torch.cat((F.relu(y[:, :k]), y[:, k:]), 1), or torch.where with a constant mask"
)


def _looks_up(node: torch.fx.Node, module: nn.Module) -> bool:
    """Whether a call looks up discrete inputs, which zeros of floats cannot be; its lowering refuses it."""
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), nn.Embedding | nn.EmbeddingBag)
    return node.target in (F.embedding, F.embedding_bag, F.one_hot)


def _refused(module: nn.Module, node: torch.fx.Node, why: str) -> UnsupportedModel:
    line = node.meta.get(LINE, "")
    return UnsupportedModel(
        f"its call {node.name!r}{f' at {line}' if line else ''} {why}",
        where=type(module).__name__,
        accepted="calls in place, such as y.relu_(), after which memory is read through their result alone",
        todo=_PARTS if node.target is operator.setitem else _COPY,
    )


def _writes(held: list[tuple[torch.fx.Node, Tensor]]) -> list[int]:
    """How often each tensor was written to, through whichever view of its memory."""
    return [tensor._version for _, tensor in held]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _overlaps(tensor: Tensor) -> bool:
    """Whether two entries share their memory."""
    if tensor.is_contiguous():
        return False
    places = torch.zeros(tensor.shape, dtype=torch.int64)
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        places += (torch.arange(size) * stride).reshape(-1, *(1,) * (tensor.dim() - axis - 1))
    return places.unique().numel() < places.numel()
