"""Shapes, dtypes and devices of traced values: the calls so far are run on zeros, at two batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.fx
from torch import Tensor, nn

from lipreg.graph.calls import run_call, zero_input
from lipreg.graph.random_state import untouched_random_state
from lipreg.linalg import Shape

_BATCHES = (2, 3)
_GETATTR, _CALL = nn.Module.__getattr__, nn.Module.__call__  # as they are outside of a trace


class Like(NamedTuple):
    """Shape, dtype and device of a tensor, without its values: no number of a trace may be one of them.

    Attributes:
        shape, dtype, device: those of the tensor.
    """

    shape: Shape
    dtype: torch.dtype
    device: torch.device


class Examples:
    """The results of a trace's calls at two batch sizes, without their values.

    Args:
        root: the module whose forward is traced.
        input_shape: of one input, without the batch axis.
    """

    def __init__(self, root: nn.Module, input_shape: Shape) -> None:
        self._root, self._input_shape = root, input_shape
        self._results: dict[torch.fx.Node, tuple[Any, Any] | None] = {}

    def tensors(self, node: torch.fx.Node) -> tuple[Like, Like] | None:
        """A call's result at both batch sizes; None where it cannot be run, or is no tensor."""
        results = self.results(node)
        return results if results is not None and all(isinstance(value, Like) for value in results) else None

    def count(self, node: torch.fx.Node) -> int | None:
        """How many results a call has; None where it has one, or cannot be run."""
        results = self.results(node)
        several = results is not None and all(type(value) is list for value in results)
        return len(results[0]) if results is not None and several and len(results[0]) == len(results[1]) else None

    def sizes(self, node: torch.fx.Node) -> tuple[int | None, ...] | None:
        """A result's shape with None for axes that differ between batch sizes; None where it is not known."""
        tensors = self.tensors(node)
        if tensors is None or len(tensors[0].shape) != len(tensors[1].shape):
            return None
        return tuple(a if a == b else None for a, b in zip(tensors[0].shape, tensors[1].shape, strict=True))

    def results(self, node: torch.fx.Node) -> tuple[Any, Any] | None:
        """A call's results at both batch sizes, with ``Like`` in place of tensors; None where it cannot be run."""
        for earlier in node.graph.nodes:
            if earlier not in self._results:
                self._results[earlier] = self._run(earlier)
        return self._results[node]

    def _run(self, node: torch.fx.Node) -> tuple[Any, Any] | None:
        if any(self._results[used] is None for used in node.all_input_nodes):
            return None
        with torch.no_grad(), untouched_random_state(), untraced():
            try:
                return self._at(node, 0), self._at(node, 1)
            except Exception:  # the comparison of the graph with the module's own forward has the better message
                return None

    def _at(self, node: torch.fx.Node, which: int) -> Any:
        def value(used: torch.fx.Node) -> Any:
            results = self._results[used]
            return None if results is None else _with_zeros(results[which])

        result = run_call(node, self._root, value, lambda: zero_input(self._root, _BATCHES[which], self._input_shape))
        return _without_values(result)


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
