"""How a tensor holds its numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput


def check_plain_tensor(x: Any, where: str, what: str) -> None:
    """Refuses what is no tensor of numbers in memory, entry by entry: arrays, lists, sparse, mkldnn and meta tensors.

    Args:
        x: the value.
        where, what: where it was passed, and what it is called, for the message.

    Raises:
        InvalidInput: the message has a call that converts it.
    """
    if not isinstance(x, Tensor):
        todo = "Write torch.as_tensor(x), in the dtype that the network takes"
        raise InvalidInput(f"{what} of type {type(x).__name__}", where=where, accepted="a tensor", todo=todo)
    if x.is_meta:
        raise InvalidInput(f"{what} on the meta device, without values", where=where, accepted="a tensor with values")
    if x.layout is not torch.strided:
        layout = str(x.layout).removeprefix("torch.").removeprefix("_")
        raise InvalidInput(
            f"{what} of layout {layout}", where=where, accepted="a dense tensor", todo="Write x.to_dense()"
        )
