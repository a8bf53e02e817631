"""The shape that several broadcast to, at the cost of no import."""

from __future__ import annotations

import numpy as np
import torch


def broadcast(*shapes: torch.Size) -> torch.Size:
    """The shape that all broadcast to; ``torch.broadcast_shapes`` loads sympy, which takes seconds.

    Raises:
        ValueError: there is none.
    """
    return torch.Size(np.broadcast_shapes(*shapes))
