"""A program that ``torch.export.save`` has written, as a torch module whose calls are those that ``capture`` reads.

``torch.export.load`` unpickles and evaluates the content of a file; here its archive is read as JSON and numbers.

Source: torch/_export/serde/schema.py and torch/export/pt2_archive, of schema version 8.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.loading.exported_operators import OPERATORS, SEVERAL
from lipreg.loading.onnx_node import NotRead
from lipreg.loading.reasons import first_line, part_before, unreadable

_WHERE = "model"
_ACCEPTED = "a file that torch.export.save of this series of torch has written"
_TODO = "Export it to ONNX, or name its class with a state_dict"
_SCHEMA = 8
"""The major version of the schema that is read."""
_ATEN = "torch.ops.aten."
_TYPES = {5: torch.int64, 6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16}
"""The dtypes by their numbers in ``schema.ScalarType``."""
_POSITIONAL = 1


class _Value(NamedTuple):
    """A value of the program, by its name."""

    name: str


class _Step(NamedTuple):
    """One call: the operator, its arguments, and the names of the values that it makes."""

    operator: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    makes: tuple[str, ...]

    def add_to(self, values: dict[str, Any]) -> None:
        """Computes its value, or values, and enters them."""
        arguments, named = _filled(self.arguments, values), _filled(self.named, values)
        result = OPERATORS[self.operator](*arguments, **named)
        several = self.operator in SEVERAL
        values |= {
            name: result[i] if several else result for i, name in enumerate(self.makes if several else self.makes[:1])
        }


class ExportedNetwork(nn.Module):
    """The calls of an exported program, in its order, as a torch module.

    Args:
        steps: the calls.
        held: the program's tensors by their names in it.
        begin: the name of the input.
        end: the name of the value to return.

    Attributes:
        input_shape: of one input, without the batch axis.
    """

    input_shape: tuple[int, ...]

    def __init__(self, steps: Sequence[_Step], held: Mapping[str, Tensor], begin: str, end: str) -> None:
        super().__init__()
        self.steps, self.begin, self.end, self.names = list(steps), begin, end, list(held)
        self.held = nn.ParameterList(nn.Parameter(value, requires_grad=False) for value in held.values())

    def forward(self, x: Tensor) -> Tensor:
        values = self._held(x)
        for step in self.steps:
            step.add_to(values)
        return values[self.end]

    def check(self, x: Tensor, where: str) -> None:
        """Runs every call once.

        Args:
            x: an example of the input, with its batch axis.
            where: the file, for messages.

        Raises:
            UnsupportedModel: a call has a form that is not read; the message names it.
        """
        values = self._held(x)
        for step in self.steps:
            try:
                step.add_to(values)
            except Exception as error:  # of any kind: whatever a file holds reaches torch's code
                reason = str(error) if isinstance(error, NotRead) else first_line(error)
                raise UnsupportedModel(f"not read: {step.operator} ({reason})", where=where, todo=_TODO) from None

    def _held(self, x: Tensor) -> dict[str, Any]:
        return {self.begin: x, **dict(zip(self.names, self.held, strict=True))}


def read_exported(path: str | Path | io.BytesIO, end: str | None = None) -> ExportedNetwork:
    """The network of an exported program with one input, whose first axis is the batch.

    Args:
        path: the file, or its content.
        end: the value at which to end, the logits in front of a softmax say; default the program's only output.

    Raises:
        InvalidInput: no such file, no program in it, no single input or output, or no value of that name.
        UnsupportedModel: operators that are not read; the message lists all of them.
    """
    where = "exported program" if isinstance(path, io.BytesIO) else str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            program, held = _contents(archive)
    except Exception as error:  # of any kind: the archive, its numbers and its JSON may be damaged anywhere
        raise InvalidInput(unreadable(where, error), where=_WHERE, accepted=_ACCEPTED, todo=_TODO) from None
    begin, example, ends, steps = program
    if end is None and len(ends) != 1:
        raise InvalidInput(
            f"{len(ends)} outputs: {', '.join(ends)}", where=where, todo="Choose by module=NAME, or --module NAME"
        )
    end = end or ends[0]
    made = {name: i for i, step in enumerate(steps) for name in step.makes}
    if end not in made:
        got = f"{end!r} is the input itself" if end == begin else f"no value {end!r}"
        last_names = f": {', '.join(list(made)[-12:])}" if made else ""
        raise InvalidInput(got, where=where, accepted=f"a value that a call makes{last_names}")
    steps = steps[: made[end] + 1]
    unknown = list(dict.fromkeys(step.operator for step in steps if step.operator not in OPERATORS))
    if unknown:
        todo = part_before(_last_read(steps, made)) or _TODO
        raise UnsupportedModel(f"not read: {', '.join(unknown)}", where=where, todo=todo)
    network = ExportedNetwork(steps, held, begin, end).eval()
    network.input_shape = tuple(example.shape[1:])
    with torch.no_grad():
        network.check(example, where)
    return network


def of_program(program: torch.export.ExportedProgram) -> ExportedNetwork:
    """The network of an exported program that is not in a file; errors are those of ``read_exported``."""
    held = io.BytesIO()
    torch.export.save(program, held)
    return read_exported(held)


def _last_read(steps: Sequence[_Step], made: Mapping[str, int]) -> str:
    """The first value that a call makes and the first call that is not read reads; empty where there is none."""
    call = next(step for step in steps if step.operator not in OPERATORS)
    values = (value.name for value in (*call.arguments, *call.named.values()) if isinstance(value, _Value))
    return next((name for name in values if name in made), "")


def _contents(archive: zipfile.ZipFile) -> tuple[tuple[str, Tensor, list[str], list[_Step]], dict[str, Tensor]]:
    """The input's name, an example of it, the outputs' names and the calls of the program; and its tensors by name."""
    root = archive.namelist()[0].partition("/")[0]
    if archive.read(f"{root}/byteorder") != b"little":
        raise ValueError("its numbers are not little-endian")
    model = json.loads(archive.read(f"{root}/models/model.json"))
    if model["schema_version"]["major"] != _SCHEMA:
        raise ValueError(f"schema {model['schema_version']['major']}, not {_SCHEMA}")
    graph, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
    weights = json.loads(archive.read(f"{root}/data/weights/model_weights_config.json"))["config"]
    constants = json.loads(archive.read(f"{root}/data/constants/model_constants_config.json"))["config"]
    held: dict[str, Tensor] = {}
    inputs: list[str] = []
    for spec in signature["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind == "user_input":
            inputs.append(_tensor_name(entry["arg"]))
            continue
        if kind == "constant_input":  # its value is in the calls already
            continue
        name = next((entry[key] for key in (f"{kind}_name", "parameter_name", "buffer_name") if key in entry), "")
        if not name:
            raise ValueError(f"an input that is neither a tensor nor a weight: {kind}")
        tables = (("weights", weights), ("constants", constants))
        folder, tensor = next((folder, table[name]) for folder, table in tables if name in table)
        held[entry["arg"]["name"]] = _tensor(archive, f"{root}/data/{folder}", tensor, name)
    if len(inputs) != 1:
        raise ValueError(f"{len(inputs)} inputs: {', '.join(inputs)}")
    ends: list[str] = []
    for spec in signature["output_specs"]:
        ((kind, entry),) = spec.items()
        if kind != "user_output":
            raise ValueError(f"it has an effect besides its output: {kind}")
        ends.append(_tensor_name(entry["arg"]))
    example = _example(graph["tensor_values"][inputs[0]])
    steps = [_step(node) for node in graph["nodes"]]
    return (inputs[0], example, ends, [step for step in steps if step.makes or not _checks(step)]), held


def _tensor_name(argument: Any) -> str:
    """The name of an input or output.

    Raises:
        ValueError: it is no tensor.
    """
    ((kind, entry),) = argument.items()
    if kind != "as_tensor":
        raise ValueError(f"an input or output is no tensor, but {kind.removeprefix('as_')}")
    return entry["name"]


def _example(about: Any) -> Tensor:
    """One input of zeros.

    Raises:
        ValueError: its shape is not known beyond the batch axis, or it has another type.
    """
    sizes = [size.get("as_int", 0) for size in about["sizes"]]
    if len(sizes) < 2 or 0 in sizes[1:] or about["dtype"] not in (7, 8):
        raise ValueError(f"an input of sizes {sizes}, type {about['dtype']}, not (batch, ...) of known sizes, in float")
    return torch.zeros(1, *sizes[1:], dtype=_TYPES[about["dtype"]])


def _tensor(archive: zipfile.ZipFile, folder: str, entry: Any, name: str) -> Tensor:
    """A tensor of raw numbers.

    Raises:
        ValueError: it is pickled, or of another type.
    """
    about = entry["tensor_meta"]
    if entry["use_pickle"] or about is None:
        raise ValueError(f"{name} is pickled, which could run as code")
    if about["dtype"] not in _TYPES:
        raise ValueError(f"{name} is of type {about['dtype']}")
    sizes, strides = ([size["as_int"] for size in about[key]] for key in ("sizes", "strides"))
    if math.prod(sizes) == 0:
        return torch.zeros(sizes, dtype=_TYPES[about["dtype"]])
    data = bytearray(archive.read(f"{folder}/{entry['path_name']}"))
    numbers = torch.frombuffer(data, dtype=_TYPES[about["dtype"]])
    return torch.as_strided(numbers, sizes, strides, about["storage_offset"]["as_int"]).contiguous()


def _step(node: Any) -> _Step:
    arguments, named = [], {}
    for given in node["inputs"]:
        if given["kind"] == _POSITIONAL:
            arguments.append(_argument(given["arg"]))
        else:
            named[given["name"]] = _argument(given["arg"])
    return _Step(node["target"].removeprefix(_ATEN), tuple(arguments), named, tuple(_makes(node["outputs"])))


def _makes(outputs: Any) -> Iterator[str]:
    """The names of the values that a call makes, those in lists too."""
    for output in outputs:
        ((_, made),) = output.items()
        for one in made if isinstance(made, list) else [made]:
            if isinstance(one, dict):
                yield one["name"] if "name" in one else one["as_name"]


def _checks(step: _Step) -> bool:
    """Whether a call does nothing but compare a value with what it was when the program was exported."""
    return step.operator.startswith("_assert_")


def _argument(argument: Any) -> Any:
    """An argument as a value of the program, as a plain value, or as a list of these."""
    ((kind, value),) = argument.items()
    if kind in ("as_tensor", "as_name"):
        return _Value(value["name"] if kind == "as_tensor" else value)
    if kind == "as_none":
        return None
    if kind == "as_tensors":
        return [_Value(one["name"]) for one in value]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _argument(value)
    if kind in ("as_sym_ints", "as_optional_tensors"):
        return [_argument(one) for one in value]
    return value


def _filled(given: Any, values: Mapping[str, Any]) -> Any:
    """Arguments with the values in place of their names."""
    if isinstance(given, _Value):
        return values[given.name]
    if isinstance(given, dict):
        return {key: _filled(value, values) for key, value in given.items()}
    return [_filled(value, values) for value in given] if isinstance(given, list | tuple) else given
