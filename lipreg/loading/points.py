"""Reference points from files: arrays of NumPy, tensors of torch, tables of text with a header."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.loading.reasons import unreadable
from lipreg.loading.tensors import read_tensors, unusual

_WHERE = "data"
_ACCEPTED = "a .npy of inputs, a .npz or .pt with x (and y), or a .csv with a header"
_LABELS = ("label", "labels", "class", "classes", "target", "targets")
"""Frequent names of columns of labels that are not called y."""
_TENSORS = "Save the tensors alone: torch.save({'x': x, 'y': y}, path)"


def load_points(
    path: str | Path, *, labels: str | None = None, shape: Sequence[int] | None = None
) -> tuple[Tensor, Tensor | None]:
    """Inputs and, where the file has them, labels or targets.

    Args:
        path: a ``.npy`` of inputs; a ``.npz``, or a ``.pt`` with a dictionary, of ``x`` and perhaps ``y``; a ``.pt`` with x
            alone or ``(x, y)``; a ``.csv`` with a header, whose columns are the inputs in their order.
        labels: the column, or the name in the file, of the labels; default "y", which need not be there.
        shape: that of one input, where the file has inputs flat; None keeps the shape of the file.

    Returns:
        Inputs ``(batch, *shape)`` in floating point: as the file has them, float64 from a table, float32 of whole numbers.
        Labels ``(batch,)``, in whole numbers where they are whole.

    Raises:
        InvalidInput: no such file, no x or no labels of that name in it, entries that are no numbers, or another count of
            labels than of inputs.
    """
    kind, name = Path(path).suffix, labels or "y"
    try:
        if kind == ".npy":
            held = {"x": torch.as_tensor(np.load(path))}
        elif kind == ".npz":
            with np.load(path) as archive:
                held = {key: torch.as_tensor(archive[key]) for key in archive.files}
        elif kind in (".pt", ".pth"):
            content = read_tensors(path, where=_WHERE, accepted=_ACCEPTED, todo=_TENSORS)
            held = dict(content) if isinstance(content, dict) else dict(_pair(content, name))
        elif kind == ".csv":
            held = _table(Path(path), name)
        else:
            raise InvalidInput(f"{path}", where=_WHERE, accepted=_ACCEPTED)
    except InvalidInput:
        raise
    except Exception as error:  # of any kind: archives, numbers and text may be damaged anywhere
        raise InvalidInput(unreadable(path, error), where=_WHERE, accepted=_ACCEPTED) from None
    x, y = held.get("x"), held.get(name)
    if not isinstance(x, Tensor) or (labels is not None and y is None):
        wanted = "x" if not isinstance(x, Tensor) else name
        if isinstance(x, Tensor) and kind == ".csv":
            raise InvalidInput(f"no column {name!r} in {path}", where=_WHERE, accepted=", ".join(_header(Path(path))))
        what = f"x is a {type(x).__name__}" if "x" in held and wanted == "x" else ""
        raise InvalidInput(
            (what and f"{what} in {path}")
            or f"no {wanted!r} in {path}: it has {', '.join(map(str, held)) or 'nothing'}",
            where=_WHERE,
            accepted=_ACCEPTED,
        )
    for key, value in (("x", x), (name, y)):
        if isinstance(value, Tensor) and unusual(value):
            raise InvalidInput(f"{key} of {path} is {unusual(value)}", where=_WHERE, accepted="real numbers, one each")
    if not x.dim():
        raise InvalidInput(f"x of {path} is one number", where=_WHERE, accepted="inputs (batch, ...)")
    if y is not None and (not isinstance(y, Tensor) or not y.dim() or len(y) != len(x)):
        got = f"{len(x)} inputs, and {name} of shape {tuple(getattr(y, 'shape', ()))}"
        raise InvalidInput(f"{path} has {got}", where=_WHERE, accepted="one label for each input")
    if kind == ".csv" and y is None:
        _say_what_counts_as_input(Path(path))
    x = x if x.is_floating_point() else x.float()
    if y is not None and y.is_floating_point() and bool((y == y.round()).all()):
        y = y.long()
    return _shaped(x, shape, path), y


def first_points(x: Tensor, y: Tensor | None, count: int | None) -> tuple[Tensor, Tensor | None]:
    """The first points of several.

    Args:
        x: inputs ``(batch, *shape)``.
        y: labels ``(batch,)``, or None.
        count: how many points; None for all.

    Raises:
        InvalidInput: there are fewer.
    """
    if count is None:
        return x, y
    if not 1 <= count <= len(x):
        raise InvalidInput(f"{count} points asked for, and {len(x)} there", where="points", accepted=f"1 to {len(x)}")
    return x[:count], None if y is None else y[:count]


def _shaped(x: Tensor, shape: Sequence[int] | None, path: str | Path) -> Tensor:
    if shape is None:
        return x
    if any(size < 1 for size in shape):
        raise InvalidInput(f"shape={tuple(shape)}", where=_WHERE, accepted="the sizes of one input, each at least 1")
    try:
        return x.reshape(len(x), *shape)
    except RuntimeError:
        got = f"inputs of shape {tuple(x.shape[1:])} in {path}, shape={tuple(shape)}"
        raise InvalidInput(got, where=_WHERE, accepted="a shape of as many numbers") from None


def _pair(content: object, labels: str) -> list[tuple[str, object]]:
    """The content of a file without names, inputs or inputs with labels, by the names x and that of the labels."""
    pair = isinstance(content, tuple | list) and len(content) in (1, 2)
    return list(zip(("x", labels), content, strict=False)) if pair else [("x", content)]  # type: ignore[arg-type]


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [name.strip() for name in next(csv.reader(stream, skipinitialspace=True))]


def _say_what_counts_as_input(path: Path) -> None:
    """Warns of a column with a name as labels have it, which counts as an input."""
    called = [name for name in _header(path) if name.lower() in _LABELS]
    if called:
        advice = f"labels={called[0]!r}, or --labels {called[0]}, takes it as the labels"
        warnings.warn(f"the column {called[0]!r} of {path} counts as an input: {advice}", stacklevel=3)


def _table(path: Path, labels: str) -> dict[str, Tensor]:
    """The columns of a table, all but that of the labels as inputs."""
    with path.open(encoding="utf-8-sig", newline="") as stream:  # a byte order mark is no part of the first name
        lines = [row for row in csv.reader(stream, skipinitialspace=True) if row]
    if len(lines) < 2:
        got = f"{path} {'has a header and no rows' if lines else 'is empty'}"
        raise InvalidInput(got, where=_WHERE, accepted="a header, then rows")
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    if header.count(labels) > 1:
        raise InvalidInput(f"{path} has {header.count(labels)} columns {labels!r}", where=_WHERE, accepted="one of it")
    if any(_is_number(name) for name in header):
        raise InvalidInput(f"{path} begins with {', '.join(header[:3])}", where=_WHERE, accepted="a header, then rows")
    ragged = next((i for i, row in enumerate(rows) if len(row) != len(header)), None)
    if ragged is not None:
        got = f"row {ragged + 1} of {path} has {len(rows[ragged])} columns, the header {len(header)}"
        raise InvalidInput(got, where=_WHERE, accepted=_ACCEPTED)
    for i, row in enumerate(rows, 1):
        for name, cell in zip(header, row, strict=True):
            if not _is_number(cell):
                raise InvalidInput(f"{cell!r} in row {i} of {path}, column {name}", where=_WHERE, accepted="numbers")
    numbers = torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64)
    if labels not in header:
        return {"x": numbers}
    at = header.index(labels)
    return {"x": torch.cat([numbers[:, :at], numbers[:, at + 1 :]], 1), labels: numbers[:, at]}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
