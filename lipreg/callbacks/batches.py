"""The inputs of a batch, and the network, in a LightningModule about which nothing else is assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from lipreg.errors import InvalidInput
from lipreg.graph import unwrap
from lipreg.points import Inputs
from lipreg.training.points import READ_BATCH

INPUT_KEYS = ("x", "image", "input", "inputs")
LABEL_KEYS = ("y", "label", "target", "labels")

_ACCEPTED = (
    "a tensor, (x, y, ...), or a dict, named tuple or dataclass with inputs under "
    f"{', '.join(map(repr, INPUT_KEYS))} and labels under {', '.join(map(repr, LABEL_KEYS))}"
)


def batch_to_inputs(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Reads reference points and labels from a batch of the usual forms.

    Args:
        batch: ``x`` alone; a tuple or list ``(x, y, ...)``; or a mapping, a named tuple or a dataclass with one of
            ``INPUT_KEYS`` and, if there are labels, one of ``LABEL_KEYS``. The first key that is present counts; a named
            tuple without such an input is read by position.

    Returns:
        x ``(batch, *shape)`` and y, targets of any form (``lipreg.labels``), or None where no tensor is in their place.

    Raises:
        InvalidInput: a batch of another form, or whose inputs are not a tensor.
    """
    if isinstance(batch, Tensor):
        return batch, None
    named = _by_name(batch)
    if named is not None and (isinstance(batch, Mapping) or not isinstance(batch, tuple) or {*INPUT_KEYS} & {*named}):
        x = next((named[key] for key in INPUT_KEYS if key in named), None)
        y = next((named[key] for key in LABEL_KEYS if key in named), None)
        kind = "dict with keys" if isinstance(batch, Mapping) else f"{type(batch).__name__} with fields"
        got = f"a {kind} {', '.join(map(repr, named)) or 'none'}"
    elif isinstance(batch, tuple | list):
        x, y = (*batch, None, None)[:2]
        got = f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
    else:
        x, y, got = None, None, f"a {type(batch).__name__}"
    if not isinstance(x, Tensor):
        raise InvalidInput(f"got {got}", where="batch", accepted=_ACCEPTED, todo=f"Or {READ_BATCH}")
    return x, y if isinstance(y, Tensor) else None


def _by_name(batch: Any) -> Mapping[Any, Any] | None:
    """The parts of a batch whose parts have names."""
    if isinstance(batch, Mapping):
        return batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return batch._asdict()  # type: ignore[attr-defined]
    if is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in fields(batch)}
    return None


def as_steps_see_it(trainer: pl.Trainer, stage: str, read: Callable[[Any], Inputs], batch: Any) -> Inputs:
    """Inputs and labels of a loader's batch after the hooks of its transfer to the device, which may change them.

    Args:
        trainer: in a fit.
        stage: "train" or "validate", in which steps take such batches; hooks that augment look at it.
        read: batch -> inputs and labels.
        batch: as its loader made it.
    """
    now: Any = trainer.state.stage
    trainer.state.stage = type(now)(stage)
    try:
        batch = trainer.lightning_module._on_before_batch_transfer(batch)
        return read(trainer.strategy.batch_to_device(batch))
    finally:
        trainer.state.stage = now


def find_network(pl_module: nn.Module, name: str | None) -> nn.Module:
    """The network that bounds are about.

    Args:
        pl_module: the LightningModule.
        name: path of a submodule, with dots ("net", "model.head"); None for the LightningModule itself. It may be wrapped.

    Returns:
        The module; for None ``pl_module``, whose own ``forward`` is then the network.

    Raises:
        InvalidInput: nothing, or no module, under that name; the message lists the submodules.
    """
    if name is None:
        return pl_module
    module: Any = pl_module
    for part in name.split("."):
        if not isinstance(getattr(module, part, None), nn.Module):
            module = unwrap(module)  # the path may pass over wrappers, or name them
        children = [child for child, _ in module.named_children()]
        below = getattr(module, part, None)
        if not isinstance(below, nn.Module):
            kind = "no attribute" if below is None else f"a {type(below).__name__}, not a module,"
            raise InvalidInput(
                f"got {name!r}: {type(module).__name__} has {kind} under {part!r}",
                where="module",
                accepted=", ".join(children) or f"none: {type(module).__name__} has no submodules",
            )
        module = below
    return module


def batches_of(trainer: pl.Trainer) -> int | None:
    """The number of all training batches by the trainer's limits; None without a limit."""
    limits = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        limits.append(trainer.max_epochs * trainer.num_training_batches)
    if trainer.max_steps > 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches)
    fewest = min(limits, default=float("inf"))
    return None if fewest == float("inf") else int(fewest)
