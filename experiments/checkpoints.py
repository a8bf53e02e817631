"""Reading a checkpoint: tensors and plain data, never code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from lipreg.errors import InvalidInput

_ACCEPTED = "a checkpoint that a Lightning trainer has saved"


def read_checkpoint(path: str | Path, *also: str) -> dict[str, Any]:
    """What a Lightning checkpoint holds, on the CPU: its ``state_dict``, and what ``also`` names.

    Raises:
        InvalidInput: no such file, no checkpoint with these, or one with more in it than tensors and plain data.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        needed = ("state_dict", *also)
        if isinstance(found, dict) and set(needed) <= found.keys():
            return found
        reason = f"no {' and '.join(needed)} in it"
    except pickle.UnpicklingError:  # torch's own text advises to load it all the same
        reason = "it holds more than tensors and plain data, which could run as code"
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = str(error)
    raise InvalidInput(f"cannot read {path}: {reason}", where="ckpt", accepted=_ACCEPTED) from None
