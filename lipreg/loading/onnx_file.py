"""An ONNX file as a torch module, whose calls are those that ``capture`` reads.

Source: the operators' definitions, github.com/onnx/onnx/blob/main/docs/Operators.md, in the forms of opsets 1 to 21.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.extras import require
from lipreg.loading.onnx_node import NotRead, OnnxConstant, OnnxNode
from lipreg.loading.onnx_operators import OPERATORS
from lipreg.loading.onnx_order import makers_of, ordered
from lipreg.loading.onnx_parts import SEVERAL
from lipreg.loading.reasons import first_line, part_before, unreadable

_WHERE = "model"
_TYPES = {1: torch.float32, 11: torch.float64}
"""The dtypes of inputs by their numbers in onnx.proto."""
_DEFAULT_DOMAINS = ("", "ai.onnx")


class OnnxNetwork(nn.Module):
    """The nodes of an ONNX graph, one module each, each behind those that it reads.

    Attributes:
        steps: the modules.
        input_shape: of one input, without the batch axis.
        reads: for each node, which values it reads: 0 is the input, i + 1 what node i makes.
    """

    def __init__(
        self, steps: Sequence[nn.Module], reads: Sequence[Sequence[int]], input_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.input_shape, self.reads = input_shape, [tuple(places) for places in reads]
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for step, places in zip(self.steps, self.reads, strict=True):
            values.append(step(*(values[place] for place in places)))
        return values[-1]


def read_onnx(path: str | Path, end: str | None = None) -> OnnxNetwork:
    """The network of an ONNX file with one input, whose first axis is the batch.

    Args:
        path: the file.
        end: the value at which to end, the logits in front of a softmax say; default the graph's only output.

    Raises:
        InvalidInput: no such file, no ONNX in it, no single input or output, or no value of that name.
        UnsupportedModel: operators, or forms of them, that are not read; the message lists all of them.
        MissingExtra: onnx is not installed.
    """
    require("onnx", "onnx", where=str(path))
    import onnx

    try:
        model = onnx.load(str(path))
        constants = {t.name: np.array(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer}
        if not model.graph.node and not model.graph.input:
            raise ValueError("there is no graph in it")
    except Exception as error:  # errors of protobuf or of the file system
        raise InvalidInput(unreadable(path, error), where=_WHERE, accepted="an ONNX file") from None
    return _Reading(model, constants, str(path)).network(end)


class _Reading:
    """A model while it is read: constants by name, and activations at an example of the declared shape."""

    def __init__(self, model: Any, constants: dict[str, np.ndarray], path: str) -> None:
        self._model, self._graph, self._path, self._constants = model, model.graph, path, constants
        self._opset = next((e.version for e in model.opset_import if e.domain in _DEFAULT_DOMAINS), 1)
        self._steps: list[nn.Module] = []
        self._reads: list[list[int]] = []

    def network(self, end: str | None) -> OnnxNetwork:
        """The network of all nodes that a value needs; None for the only output."""
        name, example = self._input()
        end = end or self._output()
        self._places, self._examples = {name: 0}, {name: example}
        nodes = self._nodes(end)
        for i, proto in enumerate(nodes):
            try:
                self._read(proto)
            except NotRead as reason:
                refused = [
                    f"{proto.op_type} ({reason})" if str(reason) else proto.op_type,
                    *self._unknown(nodes[i + 1 :]),
                ]
                before = next((name for name, place in self._places.items() if place == len(self._steps) > 0), "")
                raise UnsupportedModel(
                    f"not read: {', '.join(dict.fromkeys(refused))}",
                    where=self._path,
                    accepted=", ".join(sorted((*OPERATORS, *SEVERAL))),
                    todo=part_before(before),
                ) from None
        if end not in self._places:
            raise InvalidInput(f"{end!r} does not depend on the input", where=self._path, accepted="a value that does")
        return OnnxNetwork(self._steps, self._reads, tuple(example.shape[1:])).eval()

    def _unknown(self, later: Sequence[Any]) -> list[str]:
        """The operators of later nodes that are not read in any form; forms of others are not checked there."""
        return [
            node.op_type
            for node in later
            if node.op_type not in (*OPERATORS, *SEVERAL) and not all(name in self._constants for name in node.input)
        ]

    def _read(self, proto: Any) -> None:
        """Enters a node as a constant, or as a step.

        Raises:
            NotRead: its operator, or this form of it, is not read.
        """
        inputs = [name for name in proto.input if name]
        if any(entry.HasField("g") or entry.graphs for entry in proto.attribute):  # graphs that may read any value
            raise NotRead("")
        if proto.op_type == "Shape" and proto.input[0] in self._examples:
            self._constants[proto.output[0]] = np.array(self._examples[proto.input[0]].shape, dtype=np.int64)
            return
        if all(name in self._constants for name in inputs):
            with _errors_at(proto):
                self._constants |= self._folded(proto, inputs)
            return
        if proto.domain not in _DEFAULT_DOMAINS or proto.op_type not in (*OPERATORS, *SEVERAL):
            raise NotRead("")
        used = [name for name in proto.output[1:] if name]
        if used and proto.op_type not in ("Dropout", *SEVERAL):
            raise NotRead("more than one output")
        active = [name for name in proto.input if name in self._examples]
        with torch.no_grad(), _errors_at(proto):
            operands = [self._operand(name) for name in proto.input]
            node = OnnxNode(proto.op_type, _attributes(proto), operands, self._opset)
            if proto.op_type in SEVERAL:
                steps = SEVERAL[proto.op_type](node, len(proto.output))
            else:
                steps = [OPERATORS[proto.op_type](node)]
            made = [step.eval()(*(self._examples[name] for name in active)) for step in steps]
        for name, step, value in zip(proto.output, steps, made, strict=False):
            if value.shape[:1] != next(iter(self._examples.values())).shape[:1]:
                raise NotRead("the batch axis is moved")
            self._steps.append(step)
            self._reads.append([self._places[name] for name in active])
            self._examples[name], self._places[name] = value, len(self._steps)

    def _operand(self, name: str) -> Tensor | OnnxConstant | None:
        if name in self._constants:
            value = torch.from_numpy(np.array(self._constants[name]))
            if value.is_complex():
                raise NotRead("with complex numbers")
            return OnnxConstant(value)
        return self._examples[name] if name else None

    def _folded(self, proto: Any, inputs: list[str]) -> Mapping[str, np.ndarray]:
        """The values that a node makes of constants, by the evaluation of onnx itself."""
        from onnx import helper, numpy_helper
        from onnx.reference import ReferenceEvaluator

        constants = [numpy_helper.from_array(self._constants[name], name) for name in dict.fromkeys(inputs)]
        ends = [helper.make_empty_tensor_value_info(name) for name in proto.output if name]
        graph = helper.make_graph([proto], "constant", [], ends, constants)
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=self._model.opset_import))
        values: Any = evaluator.run(None, {})
        return {end.name: np.asarray(value) for end, value in zip(ends, values, strict=True)}

    def _nodes(self, end: str) -> list[Any]:
        """The nodes that a value needs, in the order of the file if it is sorted."""
        given = [*self._places, *self._constants]
        makers = makers_of(self._graph.node, given, self._path)
        if end not in makers:
            what = "is the input itself" if end in self._places else "is a constant" if end in self._constants else ""
            got = f"{end!r} {what}" if what else f"no value {end!r}"
            last_names = f": {', '.join(list(makers)[-12:])}" if makers else ""
            raise InvalidInput(got, where=self._path, accepted=f"a value that a node makes{last_names}")
        return ordered(self._graph.node, end, makers, given, self._path)

    def _input(self) -> tuple[str, Tensor]:
        """The name of the only input and an example of it; the batch axis, and others without a size, have size 1."""
        inputs = [value for value in self._graph.input if value.name not in self._constants]
        if len(inputs) != 1:
            got = f"{len(inputs)} inputs: {', '.join(value.name for value in inputs)}"
            raise InvalidInput(got, where=self._path, accepted="one input")
        kind = inputs[0].type.tensor_type
        sizes = [dimension.dim_value for dimension in kind.shape.dim]
        if kind.elem_type not in _TYPES or len(sizes) < 2 or 0 in sizes[1:]:
            got = f"an input of {len(sizes)} dimensions, {sizes}, type {kind.elem_type}"
            accepted = "float32 or float64, (batch, ...) with all sizes but the batch's known"
            raise InvalidInput(got, where=self._path, accepted=accepted)
        return inputs[0].name, torch.zeros(sizes[0] or 1, *sizes[1:], dtype=_TYPES[kind.elem_type])

    def _output(self) -> str:
        names = [value.name for value in self._graph.output]
        if len(names) != 1:
            raise InvalidInput(
                f"{len(names)} outputs: {', '.join(names)}",
                where=self._path,
                todo="Choose by module=NAME, or --module NAME",
            )
        return names[0]


def _attributes(proto: Any) -> dict[str, Any]:
    from onnx import helper

    values = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


@contextmanager
def _errors_at(proto: Any) -> Iterator[None]:
    """Turns errors of torch or onnx at a node into NotRead."""
    try:
        yield
    except NotRead:
        raise
    except Exception as error:  # of any kind: whatever a file holds reaches their code
        raise NotRead(f"at {proto.output[0]!r}: {first_line(error)}") from None
