"""What users ask and choose, in whatever takes it: anything else is refused with a form that is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.arguments import check_object
from lipreg.errors import InvalidInput
from lipreg.estimators.settings import Settings
from lipreg.problem import LocalLipschitz


def check_problem(problem: object, where: str) -> None:
    """Raises InvalidInput, with a form that is taken, unless it is a ``LocalLipschitz``."""
    example, line = "LocalLipschitz(LinfBall(0.1))", "from lipreg import LinfBall, LocalLipschitz"
    check_object(problem, LocalLipschitz, "problem", where, "a LocalLipschitz", example, line)


def check_settings(settings: object, where: str) -> None:
    """Raises InvalidInput, with a form that is taken, unless these are ``Settings``."""
    check_object(settings, Settings, "settings", where, "Settings", "Settings(seed=1)", "from lipreg import Settings")


def tensors_of(x: Any, y: Any, where: str) -> tuple[Tensor, Tensor | None]:
    """Points and labels as tensors: of the numbers in arrays of numpy too.

    Args:
        x, y: points, and labels or None, as a user passed them.
        where: what takes them, for messages.

    Raises:
        InvalidInput: they are something else; y may be None.
    """
    x, y = (torch.from_numpy(z) if isinstance(z, np.ndarray) and z.dtype != object else z for z in (x, y))
    if not isinstance(x, Tensor) or not isinstance(y, Tensor | None):
        got, accepted = f"x and y of type {type(x).__name__} and {type(y).__name__}", "tensors, or arrays of numpy"
        raise InvalidInput(got, where=where, accepted=accepted, todo="Write torch.as_tensor(x), in floating point")
    return x, y


def check_term(network: object, problem: object, where: str) -> None:
    """Raises InvalidInput unless these are what the term of a loss is made of.

    Args:
        network: a module, or None for one that comes later.
        problem: a ``LocalLipschitz``.
        where: what takes them, for messages.
    """
    check_problem(problem, where)
    if not isinstance(network, nn.Module | None):
        raise InvalidInput(f"network={network!r}", where=where, accepted="a torch.nn.Module")
