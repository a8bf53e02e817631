"""The question of a call, which derivatives it is about, and the names of its rows and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators.asked import check_problem
from lipreg.outputs import AllLogits, Combination, Logit, Margin, Output
from lipreg.problem import LocalLipschitz

WHERE = "derivative_range"


def derivative_question(
    problem: LocalLipschitz, output: int | Output | None, input: int | Sequence[int] | None
) -> LocalLipschitz:
    """The problem with the outputs and inputs of a call; its norms are of no account.

    Args:
        problem: of regional scope.
        output: position of an output or a functional; None for the problem's.
        input: flat positions of inputs; None for the problem's ``measured`` ones.

    Raises:
        InvalidInput: no problem, output or inputs.
        UnsupportedRequest: the problem is one of pointed scope.
    """
    check_problem(problem, WHERE)
    if problem.scope != "regional":
        todo = "Quotients against the reference point are bounded by certify"
        raise UnsupportedRequest(
            "a problem of pointed scope",
            where=WHERE,
            accepted='scope="regional": the derivative at every point',
            todo=todo,
        )
    if output is None:
        functional = problem.output
    elif isinstance(output, Output):
        functional = output
    elif isinstance(output, int) and not isinstance(output, bool):
        functional = Logit(output)
    else:
        accepted = "the position of an output, Logit(...), Margin(...), Combination(...) or another functional; None"
        raise InvalidInput(f"output={output!r}", where=WHERE, accepted=accepted)
    measured = problem.measured
    if input is not None:
        measured = [input] if isinstance(input, int) and not isinstance(input, bool) else input
    # the rows of the whole output are the outputs
    return replace(problem, output=AllLogits() if functional.joint else functional, q=None, p=1.0, measured=measured)


def functional_of(row: Tensor) -> Output:
    """The functional with some coefficients ``(outputs,)``, by the simplest name."""
    places = row.nonzero().flatten().tolist()
    if len(places) == 1 and row[places[0]] == 1:
        return Logit(places[0])
    if len(places) == 2 and sorted(row[places].tolist()) == [-1.0, 1.0]:
        target, rival = sorted(places, key=lambda i: -float(row[i]))
        return Margin(target, rival)
    return Combination(tuple(row.tolist()))


def name_of(functional: Output, row: Tensor) -> str:
    """The name of a functional with these coefficients, as in results of other questions."""
    return functional.names(row.unsqueeze(0), None)[0]


def question_data(problem: LocalLipschitz, functional: Output, input: int, unit: float) -> dict[str, Any]:
    """Which derivative, over which region, as plain data.

    Args:
        problem: whose region it is.
        functional: of the output.
        input: flat position of the input.
        unit: of the input: derivatives are changes of the output for so much of it.
    """
    return {
        "asked": "range of a derivative",
        "region": problem.describe()["region"],
        "output": functional.describe() | _listed(functional),
        "input": input,
        "unit": unit,
    }


def _listed(functional: Output) -> dict[str, Any]:
    return {"weights": list(functional.weights)} if isinstance(functional, Combination) else {}


def with_inputs(rows: Tensor, inputs: int) -> Tensor:
    """Rows ``(batch, rows, outputs)`` with a 0 for each input, for a network with its inputs beside its outputs."""
    return torch.cat([rows, rows.new_zeros(*rows.shape[:2], inputs)], -1)
