"""Whether data, model and problem of a job fit together, before anything is trained: what does not, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from experiments.models import COLOUR, ImageClassifier, OfClasses, Trained
from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz

_WHERE = "data and model"


def check_fit(data: pl.LightningDataModule, model: pl.LightningModule, problem: LocalLipschitz) -> None:
    """Refuses data that a model of the experiments, or the problem, does not take; other models are left to the first batch.

    Args:
        data: which is read here, one batch of it.
        model: that is to be trained.
        problem: the question that is asked of it.

    Raises:
        InvalidInput: targets, inputs or outputs do not fit; it names the overrides that mend it.
    """
    if not isinstance(model, Trained):
        return
    data.prepare_data()
    data.setup("fit")
    batch: Any = next(iter(data.train_dataloader()))
    if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        return
    x, y = batch
    shape, values = tuple(x.shape[1:]), y.is_floating_point()
    labels = 0 if values else int(getattr(data, "classes", int(y.max()) + 1))
    wanted = (y.shape[1] if y.dim() > 1 else 1) if values else labels
    _check_targets(model, values, shape, wanted, problem)
    if shape != model.takes:
        got = f"inputs of shape {shape}, and a model of inputs of shape {model.takes}"
        raise InvalidInput(got, where=_WHERE, todo=f"Pass {_of_inputs(data, model, shape, wanted)}")
    if model.outputs < labels:
        got = f"{labels} classes, and a model of {model.outputs} output{'s' * (model.outputs != 1)}"
        raise InvalidInput(got, where=_WHERE, todo=f"Pass {_of_outputs(model, labels)}")
    if values and y.shape[1:] != (model.outputs,):
        got = f"targets of shape {tuple(y.shape[1:])}, and a model of {model.outputs} outputs"
        raise InvalidInput(got, where=_WHERE, todo=f"Pass {_of_outputs(model, wanted)}")


def _check_targets(model: Trained, values: bool, shape: Sequence[int], wanted: int, problem: LocalLipschitz) -> None:
    """Refuses values where classes are told apart, and classes where values are fitted."""
    of_labels = problem.output.needs_labels
    asked = " problem=l2_vector" if of_labels else ""
    vector = _listed([*shape, *_hidden(model), wanted])
    if values and isinstance(model, OfClasses):
        got = f"targets that are values, and a model of classes, {type(model).__name__}"
        raise InvalidInput(got, where=_WHERE, todo=f"Pass model=mlp_regression model.widths={vector}{asked}")
    if not values and not isinstance(model, OfClasses):
        got = f"targets that are classes, and a model of values, {type(model).__name__}"
        kind = f"model=mlp model.widths={vector}" if len(shape) == 1 else _image_model(shape, wanted)
        raise InvalidInput(got, where=_WHERE, todo=f"Pass {kind}, or data of values, such as data=diabetes")
    if values and of_labels:
        got = f"targets that are values, and the output {type(problem.output).__name__}, which starts from a class"
        raise InvalidInput(got, where="data and problem", todo="Pass problem=l2_vector")


def _of_inputs(data: pl.LightningDataModule, model: Trained, shape: tuple[int, ...], wanted: int) -> str:
    """The overrides for a model that takes these inputs, or for inputs that this model takes."""
    flat = getattr(data, "flat", None)
    vectors = f"model.widths={_listed([*shape, *_hidden(model), model.outputs])}"
    if not isinstance(model, ImageClassifier):
        if len(shape) == 1:
            return vectors
        beside = f", or data.flat=true model.widths={_listed([torch.Size(shape).numel(), *model.hidden, wanted])}"
        return _image_model(shape, wanted) + beside * (flat is False)
    if len(shape) == 1:
        own = f"model=mlp {vectors}"
        return f"data.flat=false, or {own}" if flat else f"{own}, or images, such as data=mnist data.flat=false"
    if model.network in COLOUR:
        return f"data=cifar10, or {_image_model(shape, wanted)}"
    return f"model.channels={shape[0]} model.size={shape[1]}"


def _hidden(model: Trained) -> tuple[int, ...]:
    """Hidden widths of a network of vectors in a model's place: its own, or the usual ones where it is one of images."""
    return (32, 32) if isinstance(model, ImageClassifier) else model.hidden


def _image_model(shape: Sequence[int], classes: int) -> str:
    return f"model=cnn model.channels={shape[0]} model.size={shape[-1]}" + f" model.classes={classes}" * (classes != 10)


def _of_outputs(model: Trained, wanted: int) -> str:
    if isinstance(model, ImageClassifier):
        return f"model.classes={wanted}"
    return f"model.widths={_listed([*model.takes, *model.hidden, wanted])}"


def _listed(widths: Sequence[int]) -> str:
    return f"[{','.join(map(str, widths))}]"
