"""The rows of an identity, which are written down when they are read: of very many outputs they fill any memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.words import size

LEAST_ROW_BYTES = 32
"""Bytes for each number of rows that a pass holds at least: of rows, magnitudes, products and what rounding does to them."""
MANY = 2**12
"""Outputs from which on what needs no rows is computed without them: the identity has 2**24 numbers there."""


@dataclass(frozen=True)
class Identity:
    """Every output on its own, at each point of a batch.

    Attributes:
        batch: how many points.
        outputs: how many outputs the network has, and rows the identity.
        like: a number of the dtype and on the device of the rows.
    """

    batch: int
    outputs: int
    like: Tensor

    @property
    def many(self) -> bool:
        """Whether what needs no rows should do without them."""
        return self.outputs > MANY

    def part(self, index: slice) -> Identity:
        """The identity at some of the points."""
        return Identity(len(range(*index.indices(self.batch))), self.outputs, self.like)

    def written_down(self) -> Tensor:
        """The rows as a tensor, ``(batch, outputs, outputs)``.

        Raises:
            UnsupportedRequest: this machine has less memory than a pass over them takes.
        """
        needed, there = LEAST_ROW_BYTES * self.outputs**2, machine_memory()
        if self.like.device.type == "cpu" and needed > there:
            raise UnsupportedRequest(
                f"a pass that carries a row for each of {self.outputs:,} outputs takes at least {size(needed)}, and this "
                f"machine has {size(there)}",
                where="the whole output",
                accepted="what needs no rows: spectral and affine_relu with q = p or q = inf",
                todo="Ask for these, or add a layer that picks the outputs that matter",
            )
        eye = torch.eye(self.outputs, dtype=self.like.dtype, device=self.like.device)
        return eye.expand(self.batch, -1, -1)


def coefficient_sums(coefficients: Tensor | Identity) -> Tensor:
    """The sum of the magnitudes of each row's coefficients, ``(batch, rows)``; of an identity ``(batch, 1)``."""
    return (
        coefficients.like.new_ones(coefficients.batch, 1)
        if isinstance(coefficients, Identity)
        else coefficients.abs().sum(-1)
    )


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
