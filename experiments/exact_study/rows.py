"""What a job is, and its row: a training whose accuracy decides something, or a run that is calibrated and audited."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from experiments.exact_study.designs import TWIN
from experiments.exact_study.parts import Images, parts
from experiments.exact_study.questions import QUESTIONS, Question
from experiments.exact_study.terms import OWN_BOUNDS, YARDSTICK
from experiments.exact_study.training import train
from experiments.result_file import Row
from lipreg import Budget
from lipreg.calibration.fitting import fitted, of_classes
from lipreg.estimators import certify
from lipreg.records import CalibrationRecord
from lipreg.reporting.wording import rounded

CLOSEST = "jacobian_crown"
"""The closest closed form."""
TENTHS = 10
"""Parts of the calibration points, each of which is left out once."""


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        question: name of one of ``QUESTIONS``.
        stage: "choice" for selection accuracy alone; "run" for a run of the study.
        penalty, strength, seed, rate, epochs: as of ``train``.
    """

    question: str
    stage: Literal["choice", "run"]
    penalty: str
    strength: float
    seed: int
    rate: float
    epochs: int

    @classmethod
    def of(cls, row: Row) -> Job:
        """The job of a row."""
        return cls(*(row[name] for name in cls.__dataclass_fields__))


def do(job: Job) -> Row:
    """Trains, and measures what the stage asks for, in this process."""
    question = QUESTIONS[job.question]
    own = parts(job.seed, question.design)
    began = time.process_time()
    net = train(job.penalty, job.strength, job.seed, job.rate, job.epochs, own.training, question)
    right = _right(net, own.selection)
    row: Row = {**asdict(job), "accuracy": round(float(right.double().mean()), 6)}
    if job.stage == "choice":
        return {**row, "last": True}
    trained = time.process_time()
    held = torch.cat([_right(net, own.calibration), _right(net, own.audit)])
    row |= {"selection": bits(right), "held": bits(held), **_calibration(net, own.calibration)}
    x, y = own.audit
    finite = all(torch.isfinite(weight).all() for weight in net.parameters())  # a training may diverge
    if finite:
        ahead = _margins(net, x, y)
        row |= {"margins": [float(f"{m:.7g}") for m in ahead[own.place].tolist()]}
        asked = net, question, bounds_of(job.penalty)
        row["audits"] = {f"{r:g}": audited(*asked, r, own.audit, ahead, own.place) for r in question.radii}
    seconds = {"training": trained - began, "audit": time.process_time() - trained}
    return {**row, "seconds": {name: round(value, 2) for name, value in seconds.items()}, "last": True}


def bounds_of(penalty: str) -> tuple[str, ...]:
    """The closed forms of a run: the closest one, and its own; of the twin all that any run is compared by."""
    own = sorted({YARDSTICK, *OWN_BOUNDS.values()}) if penalty == TWIN else [OWN_BOUNDS.get(penalty, YARDSTICK)]
    return CLOSEST, *own


def audited(
    net: nn.Module,
    question: Question,
    bounds: Sequence[str],
    radius: float,
    images: Images,
    ahead: Tensor,
    place: slice,
) -> Row:
    """Both ends of the constants at a seed's points; closed forms there, and what they certify of the whole part.

    Args:
        net: the network.
        question, radius: what is asked.
        bounds: the closed forms.
        images: the audit part.
        ahead: its margins, ``(images,)``.
        place: of the seed's points.
    """
    (x, y), problem = images, question.problem(radius)
    budget = Budget(question.design.seconds, clock=time.process_time)
    exact = certify(net, problem, x[place], y[place], estimator="branch_and_bound", budget=budget)
    whole = Budget(math.inf)  # no clock: the same on every machine
    proved = {name: certify(net, problem, x, y, estimator=name, budget=whole) for name in bounds}
    uppers = {name: torch.tensor([e.upper for e in of], dtype=torch.float64) for name, of in proved.items()}
    return {
        "exact": [[_short(each.lower, ROUND_FLOOR), _short(each.upper, ROUND_CEILING)] for each in exact],
        "status": [str(each.status) for each in exact],
        "bounds": {name: [_short(end, ROUND_CEILING) for end in ends[place].tolist()] for name, ends in uppers.items()},
        "certified": {name: bits(ends * radius < ahead) for name, ends in uppers.items()},
    }


def bits(flags: Tensor) -> str:
    """Yes and no at each point, as hexadecimal digits."""
    return np.packbits(flags.numpy()).tobytes().hex()


def flags(text: str, count: int) -> np.ndarray:
    """What ``bits`` wrote, ``(count,)`` of 0 and 1."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:count]


def _right(net: nn.Module, images: Images) -> Tensor:
    with torch.no_grad():
        return net(images[0]).argmax(1) == images[1]


def _outputs(net: nn.Module, x: Tensor) -> Tensor:
    """In float64, of the float64 copy of the weights: that is what audits are about."""
    with torch.no_grad():
        return deepcopy(net).double()(x.double())


def _margins(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    outputs = _outputs(net, x)
    own = outputs.gather(1, y.unsqueeze(1))
    return (own - outputs.scatter(1, y.unsqueeze(1), -torch.inf)).amin(1)


def _calibration(net: nn.Module, images: Images) -> Row:
    """The factor T of all points and of all but each tenth of them, and how good the calibrated outputs are."""
    outputs, y = _outputs(net, images[0]), images[1]
    if not torch.isfinite(outputs).all():
        return {"factor": None, "why": "the outputs are not finite"}

    def factor(keep: Tensor) -> CalibrationRecord:
        return fitted(CalibrationRecord("", 0, "", points=int(keep.sum())), of_classes(outputs[keep], y[keep]))

    place = torch.arange(len(y))
    whole = factor(place >= 0)
    if whole.factor is None:
        return {"factor": None, "why": whole.why}
    left = [factor(place % TENTHS != tenth).factor for tenth in range(TENTHS)]
    return {
        "factor": _four(whole.factor),
        "factor_error": _four(whole.error),
        "loss": _four(whole.loss or math.nan),
        "tenths": [None if each is None else _four(each) for each in left],
    }


def _four(value: float) -> float:
    return float(f"{value:.5g}")


def _short(value: float, rounding: str) -> float | None:
    """Seven digits, to the safe side; None for an infinite end."""
    return None if value == math.inf else float(rounded(value, rounding, digits=7))


def mean_accuracy(rows: Sequence[Row]) -> float:
    """Of some rows on their selection data."""
    return math.fsum(row["accuracy"] for row in rows) / len(rows)
