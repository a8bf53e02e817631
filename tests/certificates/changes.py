"""Changes of certificates in all their parts, and whether what a changed file claims is true: by the enumeration."""

from __future__ import annotations

import base64
import copy
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cache, reduce
from typing import Any

import numpy as np
import torch
from torch import nn

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
    "both": LocalLipschitz(LinfBall(1.5), AllLogits()),
    "flat": LocalLipschitz(LinfBall(1.5), AllLogits()),
}
SLACK = 1e-9
"""What the enumeration may be off by."""


def both_sides() -> nn.Module:
    """A network each of whose first units reads the negative of another's, and some twice that."""
    torch.manual_seed(1)
    first, second, third = (nn.Linear(2, 9), nn.Linear(9, 4), nn.Linear(4, 2))
    with torch.no_grad():
        for own in (first.weight, first.bias):
            own[3:6], own[6:] = -own[:3], 2 * own[:3]
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third).double()


@cache
def written(name: str) -> dict[str, Any]:
    """A certificate whose trees have nodes of all kinds together; in "both" one unit's side implies another's.

    In "2" what is known of units is spelled out, as a split with a part that is empty.
    """
    net = both_sides() if name == "both" else without_biases() if name == "flat" else network("deep", 4)
    plain = certified(net, QUESTIONS[name], torch.full((1, 2), 0.1, dtype=torch.float64))[1].plain
    return plain | {"upper": [list(spelled_out(iter(tree))) for tree in plain["upper"]]} if name == "2" else plain


def without_biases() -> nn.Module:
    """A network all of whose kinks meet at 0."""
    torch.manual_seed(7)
    first, second, third = nn.Linear(2, 4, bias=False), nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third).double()


def spelled_out(nodes: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """A tree in which every unit that is shown to be on a side is split, its other part being empty by the same numbers."""
    kind, *rest = next(nodes)
    if kind == "known":
        unit, side, terms = rest
        yield ["split", unit]
        parts = [[["empty", terms]], spelled_out(nodes)]
        for part in parts[::-1] if side == "on" else parts:
            yield from part
        return
    yield [kind, *rest]
    for _ in range(2 if kind == "split" else 0):
        yield from spelled_out(nodes)


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
        parent[last] = pick(
            ["split", "bounds", "gradient", "empty", "square", "known", "on", "off", "1", "2", "inf", "box"]
        )
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
