"""The question that flags or a file ask."""

from __future__ import annotations

import argparse
from typing import Any

from lipreg.command.question_file import read_question
from lipreg.errors import InvalidInput
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall, UnitCube, WholeSpace

_BALLS = {"linf": LinfBall, "l2": L2Ball, "l1": L1Ball}
_FLAGS = ("region", "radius", "low", "high", "output", "scope", "p", "q")
_PLAIN = {"margins": AllMargins, "pairs": AllPairs, "logits": AllLogits, "vector": Vector}


def question_of(options: argparse.Namespace) -> LocalLipschitz:
    """The question of a command line.

    Raises:
        InvalidInput: flags beside a file, a ball without a radius, or a file that holds no question.
    """
    flags = [name for name in _FLAGS if getattr(options, name) is not None]
    if options.question is not None:
        if flags:
            got = f"--{flags[0]} beside --question"
            raise InvalidInput(got, where="question", accepted="the question in a file, or in flags")
        return read_question(options.question)
    kind, ball = options.region or "linf", options.region in (None, *_BALLS)
    if ball and options.radius is None:
        raise InvalidInput("no radius", where="question", accepted="--radius R, or --region cube or space")
    unused = [name for name in ("radius", "low", "high") if not ball and name in flags]
    if unused:
        raise InvalidInput(f"--{unused[0]} beside --region {kind}", where="question", accepted="it with a ball alone")
    region: Any = _BALLS[kind](options.radius, low=options.low, high=options.high) if ball else _unbounded(kind)
    return LocalLipschitz(
        region, _output(options.output or "margins"), options.scope or "regional", p=options.p, q=options.q
    )


def _unbounded(kind: str) -> Any:
    return UnitCube() if kind == "cube" else WholeSpace()


def _output(text: str) -> Output:
    """The functional that a short text means.

    Raises:
        InvalidInput: it means none.
    """
    kind, *numbers = text.split(":")
    if kind in _PLAIN and not numbers:
        return _PLAIN[kind]()
    if all(number.isdecimal() for number in numbers):
        if kind == "logit" and len(numbers) == 1:
            return Logit(int(numbers[0]))
        if kind == "margin" and len(numbers) == 2:
            return Margin(*map(int, numbers))
    accepted = f"{', '.join(_PLAIN)}, logit:K, margin:K:J"
    raise InvalidInput(f"output {text!r}", where="question", accepted=accepted)
