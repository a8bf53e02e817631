"""Changes of certificates in all their parts, and whether what a changed file claims is true: by the enumeration."""

from __future__ import annotations

import base64
import copy
import operator
from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

import numpy as np
import torch

from lipreg.certificates import encoding
from lipreg.checking import Refused, check
from lipreg.checking.file import parse
from lipreg.errors import LipregError
from lipreg.outputs import AllLogits, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L2Ball, LinfBall
from lipreg.testing.networks import network
from tests.certificates.cases import certified, truth

QUESTIONS = {
    "inf": LocalLipschitz(LinfBall(1.5), AllLogits()),
    "2": LocalLipschitz(L2Ball(1.6, low=-1.0), AllLogits()),
    "1": LocalLipschitz(Box(-1.5, 1.5), Vector(), p=1, q=1),
    "units": LocalLipschitz(LinfBall(1.5), AllLogits(), scale=(0.3, 2.5)),
    "one": LocalLipschitz(LinfBall(1.5), AllLogits(), p=2, scale=0.7, measured=[1]),
}
SLACK = 1e-9
"""What the enumeration may be off by."""


@cache
def written(name: str) -> dict[str, Any]:
    """A certificate whose trees have leaves of all kinds together."""
    return certified(network("deep", 4), QUESTIONS[name], torch.full((1, 2), 0.1, dtype=torch.float64))[1].plain


def accepted(plain: dict[str, Any], mode: str = "exact") -> bool:
    """Whether the checker takes it."""
    try:
        check(parse(plain), mode=mode)
    except Refused:
        return False
    return True


def holds(plain: dict[str, Any]) -> bool:
    """Whether its claim is true."""
    try:
        low, high = truth(plain)
    except LipregError:  # a question that the enumeration does not take: nobody knows
        return True
    lower, upper = (eval_fraction(plain["claim"][end]) for end in ("lower", "upper"))
    return lower <= high * (1 + SLACK) and upper >= low * (1 - SLACK)


def eval_fraction(text: str) -> float:
    """n/d."""
    above, below = text.split("/")
    return int(above) / int(below)


def change(plain: dict[str, Any], path: tuple[Any, ...], pick: Callable[[Sequence[Any]], Any]) -> None:
    """Changes what stands at a place: a number, numbers of float64, an end, a list."""
    *before, last = path
    parent = reduce(operator.getitem, before, plain)
    value = parent[last]
    if last == "float64":
        array = np.frombuffer(base64.b64decode(value), dtype="<f8").copy()
        if array.size:
            at = pick(range(array.size))
            by = pick([-1.0, 0.0, 1.001, 0.999, 2.0, 1e-6, 1 + 1e-15])
            array[at] = array[at] * by + pick([0.0, 1e-3, -0.5])
            parent[last] = encoding.numbers(array)["float64"]
    elif isinstance(value, str) and "/" in value:
        parent[last] = encoding_of(eval_fraction(value) * pick([0.5, 0.999, 1 - 1e-7, 1 + 1e-7, 1.5]))
    elif isinstance(value, str):
        parent[last] = pick(["split", "bounds", "gradient", "empty", "square", "1", "2", "inf", "box"])
    elif isinstance(value, int) and not isinstance(value, bool):
        parent[last] = value + pick([-1, 1, -value, 7, -2 * value, value])
    elif isinstance(value, list) and value:
        at, other = (pick(range(len(value))) for _ in range(2))
        how = pick(["leave out", "swap", "repeat", "cut"])
        if how == "leave out":
            del value[at]
        elif how == "swap":
            value[at], value[other] = value[other], value[at]
        elif how == "repeat":
            value.insert(at, copy.deepcopy(value[other]))
        else:
            del value[at:]


def encoding_of(number: float) -> str:
    """As a claim has it."""
    above, below = number.as_integer_ratio()
    return f"{above}/{below}"
