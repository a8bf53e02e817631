"""The fixed points that an audit returns to: drawn once from the validation data, without a trace in training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lipreg.auditing import untouched_random_state
from lipreg.callbacks.batches import Points
from lipreg.errors import InvalidInput


def draw_reference_points(
    loaders: Any, kind: str, count: int, seed: int, batch_to_inputs: Callable[[Any], Points], where: str
) -> Points:
    """Inputs and labels of ``count`` examples of the first loader, chosen by ``seed`` alone, on the CPU.

    From a dataset of examples with a length they are a seeded choice of its indices; from a stream, or batches made
    beforehand (``batch_size=None``), the first examples. Global random states are as before.

    Args:
        loaders: ``Trainer.val_dataloaders``, ``Trainer.train_dataloader``, or one.
        kind: what their data is, in messages: "validation".
        count: how many, at most.
        seed: of the choice.
        batch_to_inputs: a loader's batch -> inputs and labels.
        where: what error messages call the place.

    Raises:
        InvalidInput: there is no data, or it is empty.
    """
    loader = _first_loader(loaders)
    if loader is None:
        raise InvalidInput(
            f"the Trainer has no {kind} data to take reference points from",
            where=where,
            accepted="a dataloader for it in the module or the datamodule, not switched off by limit_val_batches=0",
            todo="Or pass reference_points=(x, y)",
        )
    with untouched_random_state():
        inputs = _examples(loader, count, seed, batch_to_inputs)
    if not inputs:
        raise InvalidInput(f"the {kind} data is empty", where=where)
    x = torch.cat([part for part, _ in inputs])[:count]
    labels = [part for _, part in inputs if part is not None]
    y = torch.cat(labels)[:count] if len(labels) == len(inputs) else None
    return x.detach().cpu().clone(), None if y is None else y.detach().cpu().clone()


def check_reference_points(points: Any, where: str) -> Points:
    """Reads points that a user gave: x ``(batch, *shape)``, or a pair (x, y).

    Raises:
        InvalidInput: of another form, or with more or fewer labels than inputs.
    """
    x, y = points if isinstance(points, tuple | list) and len(points) == 2 else (points, None)
    if not isinstance(x, Tensor) or x.dim() < 2 or (y is not None and len(torch.as_tensor(y)) != len(x)):
        raise InvalidInput(
            f"reference_points of type {type(points).__name__}",
            where=where,
            accepted="a tensor (batch, *shape), or a pair (x, y) with one label for each input",
        )
    return x.detach().cpu().clone(), None if y is None else torch.as_tensor(y).detach().cpu().clone()


def _first_loader(loaders: Any) -> Any:
    while isinstance(loaders, list | tuple | dict):
        loaders = next(iter(loaders.values() if isinstance(loaders, dict) else loaders), None)
    return loaders


def _examples(loader: Any, count: int, seed: int, batch_to_inputs: Callable[[Any], Points]) -> list[Points]:
    dataset: Any = getattr(loader, "dataset", None)
    collate: Any = getattr(loader, "collate_fn", None)
    # without a batch sampler (batch_size=None) what the loader fetches are batches already, not examples
    batched = getattr(loader, "batch_sampler", loader) is None
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and collate is not None and not batched:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(dataset), generator=generator)[:count].tolist()
        return [batch_to_inputs(collate([dataset[i]])) for i in chosen]
    return _first_inputs(loader, count, batch_to_inputs)


def _first_inputs(loader: Iterable[Any], count: int, batch_to_inputs: Callable[[Any], Points]) -> list[Points]:
    """Of whole batches until they hold enough examples."""
    inputs, seen = [], 0
    for batch in loader:
        inputs.append(batch_to_inputs(batch))
        seen += len(inputs[-1][0])
        if seen >= count:
            break
    return inputs
