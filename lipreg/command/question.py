"""The question that flags or a file ask."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall, UnitCube, WholeSpace

_BALLS = {"linf": LinfBall, "l2": L2Ball, "l1": L1Ball}
_FLAGS = ("region", "radius", "low", "high", "output", "scope", "p", "q")
_PLAIN = {"margins": AllMargins, "pairs": AllPairs, "logits": AllLogits, "vector": Vector}
_TARGET = "_target_"


def question_of(asked: argparse.Namespace) -> LocalLipschitz:
    """The question of a command line.

    Raises:
        InvalidInput: flags beside a file, a ball without a radius, or a file that holds no question.
    """
    given = [name for name in _FLAGS if getattr(asked, name) is not None]
    if asked.question is not None:
        if given:
            got = f"--{given[0]} beside --question"
            raise InvalidInput(got, where="question", accepted="the question in a file, or in flags")
        return read_question(asked.question)
    kind, ball = asked.region or "linf", asked.region in (None, *_BALLS)
    if ball and asked.radius is None:
        raise InvalidInput("no radius", where="question", accepted="--radius R, or --region cube or space")
    unused = [name for name in ("radius", "low", "high") if not ball and name in given]
    if unused:
        raise InvalidInput(f"--{unused[0]} beside --region {kind}", where="question", accepted="it with a ball alone")
    region: Any = _BALLS[kind](asked.radius, low=asked.low, high=asked.high) if ball else _unbounded(kind)
    return LocalLipschitz(region, _output(asked.output or "margins"), asked.scope or "regional", p=asked.p, q=asked.q)


def read_question(path: str | Path) -> LocalLipschitz:
    """The question of a YAML file, written as Hydra's groups are: classes of lipreg by ``_target_``, and their arguments.

    Raises:
        InvalidInput: no such file, no YAML, or anything but classes of lipreg and plain values.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).replace("\n", " ")
        raise InvalidInput(f"cannot read {path}: {reason}", where="question", accepted="a YAML file") from None
    if isinstance(content, dict) and "defaults" in content:
        todo = "Write the whole question into one file; python -m experiments.audit composes groups"
        raise InvalidInput(f"{path} has defaults", where="question", accepted="a question without them", todo=todo)
    found = _instance(content, str(path))
    if not isinstance(found, LocalLipschitz):
        raise InvalidInput(f"{path} holds no question", where="question", accepted="_target_: lipreg.LocalLipschitz")
    return found


def _instance(content: Any, path: str) -> Any:
    if isinstance(content, list):
        return [_instance(entry, path) for entry in content]
    if not isinstance(content, dict):
        return content
    given = {key: _instance(value, path) for key, value in content.items() if key != _TARGET}
    name = str(content.get(_TARGET, ""))
    module, _, attribute = name.rpartition(".")
    kind = None
    if module == "lipreg" or module.startswith("lipreg."):
        try:
            kind = getattr(importlib.import_module(module), attribute, None)
        except ImportError:
            kind = None
    if not isinstance(kind, type):
        got = f"{_TARGET}: {name}" if name else f"a mapping without {_TARGET}"
        raise InvalidInput(f"{got} in {path}", where="question", accepted="classes of lipreg: lipreg.LinfBall, ...")
    try:
        return kind(**given)
    except TypeError as error:
        raise InvalidInput(f"{name} in {path}: {error}", where="question", accepted="its arguments") from None


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
