"""What callbacks find in a LightningModule they know nothing about: the inputs of a batch, and the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from lipreg.errors import InvalidInput
from lipreg.training import Points

INPUT_KEYS = ("x", "image", "input", "inputs")
LABEL_KEYS = ("y", "label", "target", "labels")

_ACCEPTED = (
    "a tensor, (x, y, ...), or a dict with inputs under "
    f"{', '.join(map(repr, INPUT_KEYS))} and labels under {', '.join(map(repr, LABEL_KEYS))}"
)


def batch_to_inputs(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Reads reference points and labels from a batch of the usual forms.

    Args:
        batch: ``x`` alone; a tuple or list ``(x, y, ...)``; or a mapping with one of ``INPUT_KEYS`` and, if there are
            labels, one of ``LABEL_KEYS``. The first key that is present counts.

    Returns:
        x ``(batch, *shape)`` and y ``(batch,)``, or None where no label tensor is in its place.

    Raises:
        InvalidInput: a batch of another form, or whose inputs are not a tensor.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, Mapping):
        x = next((batch[key] for key in INPUT_KEYS if key in batch), None)
        y = next((batch[key] for key in LABEL_KEYS if key in batch), None)
        got = f"a dict with keys {', '.join(map(repr, batch)) or 'none'}"
    elif isinstance(batch, tuple | list):
        x, y = (*batch, None, None)[:2]
        got = f"a {type(batch).__name__} of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
    else:
        x, y, got = None, None, f"a {type(batch).__name__}"
    if not isinstance(x, Tensor):
        raise InvalidInput(
            f"got {got}", where="batch", accepted=_ACCEPTED, todo="Or pass batch_to_inputs=, a function batch -> (x, y)"
        )
    return x, y if isinstance(y, Tensor) else None


def as_steps_see_it(trainer: pl.Trainer, stage: str, read: Callable[[Any], Points], batch: Any) -> Points:
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
        name: path of a submodule, with dots ("net", "model.head"); None for the LightningModule itself.

    Returns:
        The module; for None ``pl_module``, whose own ``forward`` is then the network.

    Raises:
        InvalidInput: nothing, or no module, under that name; the message lists the submodules.
    """
    if name is None:
        return pl_module
    found: Any = pl_module
    for part in name.split("."):
        children = [child for child, _ in found.named_children()]
        below = getattr(found, part, None)
        if not isinstance(below, nn.Module):
            kind = "no attribute" if below is None else f"a {type(below).__name__}, not a module,"
            raise InvalidInput(
                f"got {name!r}: {type(found).__name__} has {kind} under {part!r}",
                where="module",
                accepted=", ".join(children) or f"none: {type(found).__name__} has no submodules",
            )
        found = below
    return found
