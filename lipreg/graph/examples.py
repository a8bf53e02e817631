"""Shapes, dtypes and devices of traced values: of the calls so far, run on zeros at two batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.fx
from torch import Tensor, nn

from lipreg.graph.calls import run_call, zeros
from lipreg.graph.random_state import untouched_random_state
from lipreg.linalg import Shape

_BATCHES = (2, 3)
_GETATTR, _CALL = nn.Module.__getattr__, nn.Module.__call__  # as they are outside of a trace


class Like(NamedTuple):
    """What is known of a tensor: no values, for no number of a trace may be one of them."""

    shape: Shape
    dtype: torch.dtype
    device: torch.device


class Examples:
    """What is known of the results of a trace's calls, at two batch sizes.

    Args:
        root: the module that is traced.
        input_shape: of one input, without the batch axis.
    """

    def __init__(self, root: nn.Module, input_shape: Shape) -> None:
        self._root, self._input_shape = root, input_shape
        self._known: dict[torch.fx.Node, tuple[Any, Any] | None] = {}

    def tensors(self, node: torch.fx.Node) -> tuple[Like, Like] | None:
        """A call's result at both batch sizes; None where it cannot be run, or is no tensor."""
        found = self.results(node)
        return found if found is not None and all(isinstance(value, Like) for value in found) else None

    def count(self, node: torch.fx.Node) -> int | None:
        """How many results a call has; None where it has one, or cannot be run."""
        found = self.results(node)
        several = found is not None and all(type(value) is list for value in found)
        return len(found[0]) if found is not None and several and len(found[0]) == len(found[1]) else None

    def sizes(self, node: torch.fx.Node) -> tuple[int | None, ...] | None:
        """A result's shape with None for axes that differ between batch sizes; None where it is not known."""
        found = self.tensors(node)
        if found is None or len(found[0].shape) != len(found[1].shape):
            return None
        return tuple(a if a == b else None for a, b in zip(found[0].shape, found[1].shape, strict=True))

    def results(self, node: torch.fx.Node) -> tuple[Any, Any] | None:
        """A call's results at both batch sizes, with ``Like`` in place of tensors; None where it cannot be run."""
        for earlier in node.graph.nodes:
            if earlier not in self._known:
                self._known[earlier] = self._run(earlier)
        return self._known[node]

    def _run(self, node: torch.fx.Node) -> tuple[Any, Any] | None:
        if any(self._known[used] is None for used in node.all_input_nodes):
            return None
        with torch.no_grad(), untouched_random_state(), untraced():
            try:
                return self._at(node, 0), self._at(node, 1)
            except Exception:  # the module's own forward says it better, where the graph is compared with it
                return None

    def _at(self, node: torch.fx.Node, which: int) -> Any:
        def value(used: torch.fx.Node) -> Any:
            found = self._known[used]
            return None if found is None else _with_zeros(found[which])

        found = run_call(node, self._root, value, lambda: zeros(self._root, _BATCHES[which], self._input_shape))
        return _without_values(found)


def _without_values(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Like(tuple(value.shape), value.dtype, value.device)
    if isinstance(value, dict):
        return {name: _without_values(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_without_values(part) for part in value]
    return value


def _with_zeros(value: Any) -> Any:
    if isinstance(value, Like):
        return torch.zeros(value.shape, dtype=value.dtype, device=value.device)
    if isinstance(value, dict):
        return {name: _with_zeros(part) for name, part in value.items()}
    return [_with_zeros(part) for part in value] if isinstance(value, list) else value


@contextmanager
def untraced() -> Iterator[None]:
    """Modules inside the block run as they do outside of a trace, which would take their calls for its own."""
    kind: Any = nn.Module
    traced = kind.__getattr__, kind.__call__
    kind.__getattr__, kind.__call__ = _GETATTR, _CALL
    try:
        yield
    finally:
        kind.__getattr__, kind.__call__ = traced
