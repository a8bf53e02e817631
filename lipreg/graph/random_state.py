"""The global random states, kept as they were: training must not notice that it is audited."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipreg.errors import UnsupportedModel


@contextmanager
def untouched_random_state() -> Iterator[Callable[[], bool]]:
    """Restores the global random states of Python, numpy and torch (CPU and, where started, CUDA) after the block.

    Yields:
        A function that says, inside the block, whether something has drawn from them since it began.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    before = _states(devices)
    try:
        yield lambda: not _same(before, _states(devices))
    finally:
        python, legacy, (cpu, *cuda) = before
        random.setstate(python)
        np.random.set_state(legacy)
        torch.random.set_rng_state(cpu)
        for device, state in zip(devices, cuda, strict=True):
            torch.cuda.set_rng_state(state, device)


def no_network(name: str) -> UnsupportedModel:
    """The error of a forward that draws random numbers at evaluation."""
    return UnsupportedModel(
        "its forward draws random numbers, at evaluation too",
        where=name,
        accepted="a network with one output for each input",
        todo="Draw only where self.training holds, or give the numbers as a buffer",
    )


def _states(devices: Sequence[int]) -> tuple[Any, Any, list[Tensor]]:
    """The states of Python, of numpy, and of torch and its CUDA devices."""
    cuda = [torch.cuda.get_rng_state(device) for device in devices]
    return random.getstate(), np.random.get_state(), [torch.random.get_rng_state(), *cuda]


def _same(one: tuple[Any, Any, list[Tensor]], other: tuple[Any, Any, list[Tensor]]) -> bool:
    (python, (kind, keys, *place), ours), (other_python, (other_kind, other_keys, *other_place), theirs) = one, other
    return (
        (python, kind, place) == (other_python, other_kind, other_place)
        and np.array_equal(keys, other_keys)
        and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    )
