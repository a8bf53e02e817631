"""Pre-activation bounds of a batch, computed for some of its points after the others, when they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lipreg.bounds.induced import InducedNorms
from lipreg.bounds.preactivations import Preactivations
from lipreg.bounds.value_bounds import Anchored, ValueBounds
from lipreg.words import sentences

Find = Callable[[slice, InducedNorms, float], Preactivations]
"""Points, the norms to take, and these points' share of the remaining time -> their bounds."""


class BatchParts:
    """The bounds of the points of a batch, part by part.

    The bounds of many points of a large network together take more than the memory, and more time than may pass between two
    looks at the clock. A part is computed when the first of its points is read, in its share of the time, and is kept.

    Args:
        batch: how many points there are.
        at_once: how many are computed together, at least 1; called when the first is read.
        find: computes the bounds of some of them.
        norms: those of the whole batch, which serve a part where that is all; the model of others for parts.
        latest: whether only the part that was read last is kept, because points are read one after the other, once.
    """

    def __init__(
        self,
        batch: int,
        at_once: Callable[[], int],
        find: Find,
        norms: InducedNorms,
        latest: bool = False,
    ) -> None:
        self.batch, self._ask, self._find, self._whole, self._latest = batch, at_once, find, norms, latest
        self._norms: dict[range, InducedNorms] = {}
        self._found: dict[range, Preactivations] = {}
        self._ahead: set[range] | None = None

    @classmethod
    def of(cls, preactivations: Preactivations, batch: int, norms: InducedNorms) -> BatchParts:
        """One part whose bounds are computed already.

        Args:
            preactivations: of all points.
            batch: how many there are.
            norms: with which they were computed.
        """
        parts = cls(batch, lambda: batch, lambda *_: preactivations, norms)
        parts._found[range(batch)] = preactivations
        return parts

    @cached_property
    def ranges(self) -> tuple[range, ...]:
        """The points of each part: of nearly equal size."""
        count = -(-self.batch // max(1, min(self.batch, self._ask())))
        return tuple(range(*ends) for ends in pairwise(round(k * self.batch / count) for k in range(count + 1)))

    def norms(self, points: range) -> InducedNorms:
        """The norms with which just these points are computed; fresh ones for the points of no part or of several."""
        if points == range(self.batch):
            return self._whole
        if "ranges" not in vars(self) or points not in self.ranges:
            return self._whole.afresh()
        return self._norms.setdefault(points, self._whole.afresh())

    def norms_behind(self, points: range) -> list[InducedNorms]:
        """The norms with which any of these points were computed."""
        if "ranges" not in vars(self) or len(self.ranges) == 1:
            return [self._whole]
        wanted = (part for part in self.ranges if part.start < points.stop and points.start < part.stop)
        return [self._norms[part] for part in wanted if part in self._norms]

    def whole(self, points: range) -> bool:
        """Whether bounds of all of these points are computed already, and nothing was left out of them."""
        computed = {i for part, bounds in self._found.items() if not bounds.left_out for i in part}
        return computed.issuperset(points)

    def __getitem__(self, points: range) -> Preactivations:
        """The bounds of these points, in their order."""
        if points in self._found:
            return self._found[points]
        wanted = [part for part in self.ranges if part.start < points.stop and points.start < part.stop]
        blocks = []
        for part in wanted:
            if self._latest:
                self._found = {old: bounds for old, bounds in self._found.items() if old == part}
            if part not in self._found:
                self._found[part] = self._of(part)
            at = slice(max(0, points.start - part.start), min(len(part), points.stop - part.start))
            blocks.append(self._found[part] if len(part) == at.stop - at.start else self._found[part][at])
        joined = blocks[0] if len(blocks) == 1 else _joined(blocks)
        if points == range(self.batch):
            self._found = {points: joined}
        return joined

    def _of(self, part: range) -> Preactivations:
        if self._ahead is None:
            self._ahead = set(self.ranges)
        remaining = max(len(part), sum(map(len, self._ahead)))
        self._ahead.discard(part)
        return self._find(slice(part.start, part.stop), self.norms(part), len(part) / remaining)


def _joined(parts: Sequence[Preactivations]) -> Preactivations:
    value_bounds = tuple(
        ValueBounds(**_fields(each)) for each in zip(*(part.value_bounds for part in parts), strict=True)
    )
    anchors = {i: Anchored(**_fields([part.anchors[i] for part in parts])) for i in parts[0].anchors}
    first = parts[0]
    return replace(
        first, value_bounds=value_bounds, anchors=anchors, left_out=sentences(*(part.left_out for part in parts))
    )


def _fields(parts: Sequence[ValueBounds] | Sequence[Anchored]) -> dict[str, Any]:
    def joined(name: str) -> Tensor | None:
        tensors = [getattr(part, name) for part in parts]
        return None if tensors[0] is None else torch.cat(tensors)

    return {field.name: joined(field.name) for field in fields(parts[0])}
