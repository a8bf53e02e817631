"""Where in a user's code a call stands, or an error has happened."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

_TORCH, _OWN = str(Path(torch.__file__).parent), str(Path(__file__).parent)


def line_below(outermost: CodeType) -> str:
    """The innermost line outside of torch and of this package that is being run, ``model.py:12``.

    Args:
        outermost: code of ours; what called that is no part of a forward.

    Returns:
        The line; empty where there is none, as in a network that is put together from layers of torch alone.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not outermost:
        if _users(frame.f_code):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of(error: BaseException) -> str:
    """The innermost line outside of torch and of this package that an error has passed; empty where there is none."""
    line, step = "", error.__traceback__
    while step is not None:
        if _users(step.tb_frame.f_code):
            line = f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}"
        step = step.tb_next
    return line


def line_within(error: BaseException, function: Callable[..., Any]) -> str:
    """The last line that an error has passed of the file of a function, ``layers.py:12``; empty if it is not from inside."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    line, inside, step = "", False, error.__traceback__
    while code is not None and step is not None:
        inside = inside or step.tb_frame.f_code is code
        if inside and step.tb_frame.f_code.co_filename == code.co_filename:
            line = f"{Path(code.co_filename).name}:{step.tb_lineno}"
        step = step.tb_next
    return line


def in_assertion(frame: FrameType | None) -> bool:
    """Whether a frame is at an ``assert`` statement, whose condition may then be taken to hold."""
    if frame is None:
        return False
    instructions = list(dis.get_instructions(frame.f_code))
    now = next((i.positions for i in instructions if i.offset == frame.f_lasti), None)
    return any(_spans(i.positions, now) for i in instructions if i.opname == "LOAD_ASSERTION_ERROR")


def _spans(statement: Any, part: Any) -> bool:
    """Whether one piece of code contains another; pieces without positions contain nothing."""
    if statement is None or part is None or None in (*statement, *part):
        return False
    first, last, left, right = statement
    return (first, left) <= (part.lineno, part.col_offset) and (part.end_lineno, part.end_col_offset) <= (last, right)


def _users(code: CodeType) -> bool:
    return not code.co_filename.startswith((_TORCH, _OWN))
