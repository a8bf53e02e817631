"""PointRecord: a reference point itself, exact and compressed, so that a page shows it beside its witness."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lipreg.errors import InvalidInput
from lipreg.records.subjects import reference_hash

_NUMBER = np.dtype("<f8")


@dataclass(frozen=True)
class PointRecord:
    """A reference point of a run, written once, whatever is proved there later.

    Attributes:
        run, run_id, point: as in ``AuditRecord``.
        reference: hash of the point, the same in its audits and in those of other runs at the same point.
        shape: of one input.
        kind: the kind of the record, in files.
        packed: its float64 numbers, little-endian, the first bytes of all, then the second ones, and so on; compressed by
            zlib, as base64. A digit of 8 x 8 pixels takes 0.1 KB, one of MNIST 0.7 KB, a photo of CIFAR-10 9 KB.
    """

    kind: ClassVar[str] = "point"
    run: str
    point: int
    reference: str
    shape: list[int]
    packed: str
    run_id: str = ""

    @classmethod
    def of(cls, x: Any, run: str, run_id: str, point: int) -> PointRecord:
        """The record of an input.

        Args:
            x: the input, without a batch dimension: an array, or a tensor on the CPU.
            run, run_id: label and id of the run.
            point: its index.
        """
        values = np.ascontiguousarray(np.asarray(x), dtype=_NUMBER)
        planes = np.frombuffer(values.tobytes(), np.uint8).reshape(-1, _NUMBER.itemsize).T
        packed = base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()
        return cls(run, point, reference_hash(values.tobytes()), list(values.shape), packed, run_id)

    @property
    def x(self) -> np.ndarray[Any, Any]:
        """The point, ``shape``, in float64.

        Raises:
            InvalidInput: it is damaged: not so many numbers, or others than those of the hash.
        """
        accepted = "a point that lipreg has packed"
        size = math.prod(self.shape) * _NUMBER.itemsize
        if any(length < 0 for length in self.shape):
            raise InvalidInput(f"a point of shape {self.shape}", where="point record", accepted=accepted)
        try:
            worker = zlib.decompressobj()
            planes = worker.decompress(base64.b64decode(self.packed, validate=True), size + 1)
        except (binascii.Error, zlib.error, ValueError) as error:
            raise InvalidInput(
                f"a point that cannot be read: {error}", where="point record", accepted=accepted
            ) from None
        if len(planes) != size:
            raise InvalidInput(f"a point of other than {size} bytes", where="point record", accepted=accepted)
        numbers = np.frombuffer(planes, np.uint8).reshape(_NUMBER.itemsize, -1).T.tobytes()
        values = np.frombuffer(numbers, _NUMBER).reshape(self.shape)
        if not np.isfinite(values).all() or reference_hash(values.tobytes()) != self.reference:
            raise InvalidInput("a point of another hash than it has", where="point record", accepted=accepted)
        return values
