"""The global random states, kept as they were: training must not notice that it is audited."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lipreg.errors import UnsupportedModel


@contextmanager
def untouched_random_state() -> Iterator[Callable[[], bool]]:
    """Restores the global random states of Python, numpy and torch (CPU and, where started, CUDA) after the block.

    Yields:
        Asked inside the block, whether something has drawn from them since it began.
    """
    python, legacy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            before = _states(devices)
            yield lambda: not _same(before, _states(devices))
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


def no_network(name: str) -> UnsupportedModel:
    """The error of a forward that draws random numbers at evaluation."""
    return UnsupportedModel(
        "its forward draws random numbers, at evaluation too",
        where=name,
        accepted="a network with one output for each input",
        todo="Draw only where self.training holds, or give the numbers as a buffer",
    )


def _states(devices: Any) -> list[Any]:
    kind, keys, *place = np.random.get_state()
    torch_states = [torch.random.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
    return [
        random.getstate(),
        str(kind),
        np.asarray(keys).tobytes(),
        place,
        *(s.numpy().tobytes() for s in torch_states),
    ]


def _same(one: list[Any], other: list[Any]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=True))
