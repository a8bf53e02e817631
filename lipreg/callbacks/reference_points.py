"""The fixed points that an audit returns to: drawn once from the validation data, without a trace in training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lipreg.callbacks.batches import as_steps_see_it, batch_to_inputs
from lipreg.errors import InvalidInput
from lipreg.graph import untouched_random_state
from lipreg.labels import IGNORE_INDEX, are_classes, check_ignore_index, labelled, targets
from lipreg.outputs import Output
from lipreg.points import Inputs, Points
from lipreg.regions.reference import check_reference_points
from lipreg.training.points import READ_BATCH


@dataclass(frozen=True)
class LabelsRead:
    """How labels are read with reference points.

    Args:
        output: the functional; where it starts from labels they have to be classes, else they are kept only if they are.
        ignore_index: a label that, like -1, leaves a point out where the functional starts from labels.
        where: what error messages call the place.
        all: whether no example may be left out, as something is to be recorded of all of them.
    """

    output: Output | None = None
    ignore_index: int = IGNORE_INDEX
    where: str = "reference points"
    all: bool = False

    def __post_init__(self) -> None:
        check_ignore_index(self.ignore_index, self.where)

    def of(self, x: Tensor, y: Tensor | None) -> Inputs:
        """The points that may be reference points, with their classes where they have any.

        Raises:
            InvalidInput: the functional needs labels, and there are none, or they are no classes.
        """
        if self.output is None or not self.output.needs_labels:
            return x, y if are_classes(y, len(x)) else None
        kept = labelled(targets(y, len(x), type(self.output).__name__), self.ignore_index)
        return x[kept], None if y is None else y[kept]


def draw_reference_points(
    loaders: Any,
    kind: str,
    count: int,
    seed: int,
    batch_to_inputs: Callable[[Any], Inputs],
    where: str,
    labels: LabelsRead | None = None,
) -> Inputs:
    """Inputs and labels of ``count`` examples of the first loader, chosen by ``seed`` alone, on the CPU.

    From a dataset of examples with a length they are a seeded choice of its indices; from a stream, or batches made
    beforehand (``batch_size=None``), the first examples. Examples that ``labels`` leaves out give place to the next ones.
    Global random states are as before.

    Args:
        loaders: ``Trainer.val_dataloaders``, ``Trainer.train_dataloader``, or one.
        kind: what their data is, in messages: "validation".
        count: how many, at most.
        seed: of the choice.
        batch_to_inputs: a loader's batch -> inputs and labels.
        where: what error messages call the place.
        labels: how they are read.

    Raises:
        InvalidInput: there is no data, it is empty, its inputs are none, or its labels no classes where they are needed.
    """
    loader = first_loader(loaders)
    if loader is None:
        raise InvalidInput(
            f"the Trainer has no {kind} data to take reference points from",
            where=where,
            accepted="a dataloader for it in the module or the datamodule, not switched off by limit_val_batches=0",
            todo="Or pass points=(x, y), of the training data for example",
        )
    labels, drawn = LabelsRead(where=where) if labels is None else labels, []
    kept = skipped = 0
    with untouched_random_state():
        for x, y in examples(loader, seed, batch_to_inputs):
            if not x.is_floating_point() or x.dim() < 2:
                got = f"inputs of shape {tuple(x.shape)} and dtype {str(x.dtype).removeprefix('torch.')}"
                raise InvalidInput(got, where=where, accepted="floating point, (batch, *shape)", todo=READ_BATCH)
            drawn.append(labels.of(x, y))
            kept, skipped = kept + len(drawn[-1][0]), skipped + len(x) - len(drawn[-1][0])
            if kept >= count:
                break
    if not kept:
        without = f"has no point with a label but -1 and {labels.ignore_index}" if skipped else "is empty"
        raise InvalidInput(f"the {kind} data {without}", where=where, todo="Pass points=(x, y)")
    if skipped and labels.all:
        got = f"{skipped} examples of the {kind} data without a class (-1 or {labels.ignore_index})"
        accepted = "confidence with data all of whose examples may be audited"
        raise InvalidInput(got, where=where, accepted=accepted)
    if skipped:
        text = f"{skipped} examples of the {kind} data have no class (-1 or {labels.ignore_index}) and are left out"
        warnings.warn(f"{where}: {text} of the reference points; others are drawn in their place", stacklevel=3)
    if kept < count:
        of = f"{kept} point{'s' * (kept != 1)}" + (" with a class" if skipped else "")
        text = f"points={count}, and the {kind} data has {of}: all of them are reference points"
        warnings.warn(f"{where}: {text}", stacklevel=3)
    return _copies(*joined(drawn), count)


def supplied_points(points: Points, labels: LabelsRead) -> Inputs | None:
    """The points that a user has passed, without those that ``labels`` leaves out; None where they are to be drawn.

    Raises:
        InvalidInput: all points, or given ones without a class where one is needed.
    """
    if points.supplied_points is None:
        if points.count is None:
            accepted = "a number of points, or x or (x, y)"
            raise InvalidInput(f"points={points.which!r}", where=labels.where, accepted=accepted)
        return None
    x, y = points.supplied_points
    check_reference_points(x, f"{labels.where}(points=...)")
    return _copies(*labels.of(x, y), len(x))


def validation_points(trainer: pl.Trainer, points: Points, labels: LabelsRead) -> Inputs:
    """Reference points from a trainer's validation data, as its steps see them; see ``draw_reference_points``.

    Args:
        trainer: with the data.
        points: how many, and the seed.
        labels: how labels are read.
    """
    assert points.count is not None and points.seed is not None
    read = partial(as_steps_see_it, trainer, "validate", points.batch_to_inputs or batch_to_inputs)
    request = validation_loaders(trainer), "validation", points.count, points.seed
    return draw_reference_points(*request, read, labels.where, labels)


def validation_loaders(trainer: pl.Trainer) -> Any:
    """The loaders of the validation data: the trainer's, or those that it has not set up; None where there are none.

    A module without ``validation_step`` has validation data all the same, but Lightning does not set up its loaders.
    """
    if trainer.val_dataloaders is not None or trainer.limit_val_batches == 0:
        return trainer.val_dataloaders
    source = trainer.fit_loop.epoch_loop.val_loop._data_source
    return source.dataloader() if source.is_defined() else None


def joined(drawn: Sequence[Inputs]) -> Inputs:
    """The batches as one; without targets unless all have them."""
    parts = [y for _, y in drawn if y is not None]
    return torch.cat([x for x, _ in drawn]), torch.cat(parts) if len(parts) == len(drawn) else None


def _copies(x: Tensor, y: Tensor | None, count: int) -> Inputs:
    return x[:count].detach().cpu().clone(), None if y is None else y[:count].detach().cpu().clone()


def first_loader(loaders: Any) -> Any:
    """The first of some loaders, which may be in lists and dicts; None where there is none."""
    while isinstance(loaders, list | tuple | dict):
        loaders = next(iter(loaders.values() if isinstance(loaders, dict) else loaders), None)
    return loaders


def examples(loader: Any, seed: int, batch_to_inputs: Callable[[Any], Inputs]) -> Iterator[Inputs]:
    """Yields all examples in the order in which they are drawn, one by one or in batches.

    Args:
        loader: a DataLoader, or any iterable of batches.
        seed: of the order, where its dataset has a length (``drawn_indices``); else it is the loader's own.
        batch_to_inputs: a loader's batch -> inputs and labels.
    """
    dataset: Any = getattr(loader, "dataset", None)
    collate: Any = getattr(loader, "collate_fn", None)
    drawn = drawn_indices(loader, seed)
    if drawn is None:
        yield from map(batch_to_inputs, loader)
        return
    for i in drawn:
        yield batch_to_inputs(collate([dataset[i]]))


def drawn_indices(loader: Any, seed: int) -> list[int] | None:
    """The examples of a loader's dataset in the order of the draw; None where it has none with a length."""
    dataset: Any = getattr(loader, "dataset", None)
    # without a batch sampler (batch_size=None) what the loader fetches are batches already, not examples
    batched = getattr(loader, "batch_sampler", loader) is None or getattr(loader, "collate_fn", None) is None
    if batched or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        return None
    return torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
