"""The global random states, kept as they were: training must not notice that it is audited."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipreg.errors import UnsupportedModel


class RandomState:
    """The global random states of Python, of numpy, and of torch (CPU and, where started, CUDA), as they are now.

    To read or to set numpy's takes longer than a pass through a small network, so neither is done without need.
    """

    def __init__(self) -> None:
        self._devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        self._before = _states(self._devices)
        self._drawn: bool | None = None

    def drawn(self) -> bool:
        """Whether something has drawn from them since; after ``restore``, whether it had by then."""
        return not _same(self._before, _states(self._devices)) if self._drawn is None else self._drawn

    def restore(self) -> None:
        """Sets them to what they were."""
        self._drawn = self.drawn()
        if not self._drawn:
            return
        python, legacy, (cpu, *cuda) = self._before
        random.setstate(python)
        np.random.set_state(legacy)
        torch.random.set_rng_state(cpu)
        for device, state in zip(self._devices, cuda, strict=True):
            torch.cuda.set_rng_state(state, device)


@contextmanager
def untouched_random_state() -> Iterator[RandomState]:
    """Restores the global random states after the block, and yields what says whether the block has drawn from them."""
    state = RandomState()
    try:
        yield state
    finally:
        state.restore()


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
