"""Reading a checkpoint: tensors and plain data, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.loading.tensors import read_tensors

_ACCEPTED = "a checkpoint that a Lightning trainer has saved"


def read_checkpoint(path: str | Path, *also: str) -> dict[str, Any]:
    """The content of a Lightning checkpoint, on the CPU: its ``state_dict``, what ``also`` names, and the rest.

    Raises:
        InvalidInput: no such file, no checkpoint with these, or one with more in it than tensors and plain data.
    """
    content = read_tensors(path, where="ckpt", accepted=_ACCEPTED)
    needed = ("state_dict", *also)
    if isinstance(content, dict) and set(needed) <= content.keys():
        return content
    reason = f"no {' and '.join(needed)} in it"
    raise InvalidInput(f"cannot read {path}: {reason}", where="ckpt", accepted=_ACCEPTED)


def completed_epochs(checkpoint: dict[str, Any], path: str | Path) -> int:
    """The number of epochs that the weights of a checkpoint were trained for.

    The checkpoint's own ``epoch`` does not say: saved at the end of an epoch, it is that epoch's index, and saved after
    ``fit`` the number of epochs.

    Args:
        checkpoint: its content.
        path: its file, for errors.

    Raises:
        InvalidInput: it was saved in the middle of an epoch, or does not say.
    """
    try:
        loop = checkpoint["loops"]["fit_loop"]
        progress, whole = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["is_last_batch"]
        begun, completed = int(progress["ready"]), int(progress["completed"])
    except (KeyError, TypeError):
        raise InvalidInput(f"{path} does not say its epoch", where="ckpt", accepted=_ACCEPTED) from None
    if begun > completed and not whole:
        raise InvalidInput(
            f"{path} was saved in the middle of epoch {completed}",
            where="ckpt",
            accepted="one that was saved at the end of an epoch, whose weights an audit can be compared with",
        )
    return begun


def trained_with(checkpoint: dict[str, Any]) -> tuple[int | None, float]:
    """The seed of a checkpoint's training, from the state of an audit that had it (else None), and the largest weight of
    its ``LipschitzRegularizer`` callbacks (0 without)."""
    states = [state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, dict)]
    seeds = [
        state["seed"] for state in states if {"run_id", "points"} <= state.keys() and state.get("seed") is not None
    ]
    weights = [state["weight"] for state in states if {"weight", "generator", "factor"} <= state.keys()]
    return next(iter(seeds), None), max(weights, default=0.0)
