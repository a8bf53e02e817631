"""Reference points as records, each made when it is looked up: of a large data set few are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lipreg.records import PointRecord


class PointRecords(Mapping[int, PointRecord]):
    """The records of reference points by their indices.

    Args:
        x: the points, ``(batch, *shape)``, of any device and dtype: kept as float64, which is what is audited.
        run, run_id: label and id of the run that they belong to.
    """

    def __init__(self, x: Tensor, run: str, run_id: str) -> None:
        self._x, self._run = x.detach(), (run, run_id)

    def __getitem__(self, point: int) -> PointRecord:
        return PointRecord.of(self._x[point].to("cpu", torch.float64).numpy(), *self._run, point)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._x)))

    def __len__(self) -> int:
        return len(self._x)
