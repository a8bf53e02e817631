"""Points that tell what outputs mean: of which task their targets are, and what follows for a constant."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Set
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.calibration.fitting import SMALLEST, finite, fitted, of_classes, of_labels
from lipreg.distances import counts_of
from lipreg.labels import IGNORE_INDEX, are_classes, labelled
from lipreg.linalg import vector_norm
from lipreg.linalg.maps import as_bytes
from lipreg.points import Inputs
from lipreg.problem import LocalLipschitz
from lipreg.records import CalibrationRecord

CHUNK = 256
"""Points whose outputs are computed at once."""


@dataclass(frozen=True)
class CalibrationPoints:
    """The points that a training's networks are calibrated with, the same for all of them.

    Args:
        x: inputs ``(points, *shape)``, none of which is audited.
        y: targets of any form; None where there are none.
        problem: the question, whose norms measure inputs and targets of regression.
        ignore_index: a label that, like -1, leaves a point out.
        why: why there are no points, where there are none.
    """

    x: Tensor
    y: Tensor | None
    problem: LocalLipschitz
    ignore_index: int = IGNORE_INDEX
    why: str = "there is no point that is not audited"

    def of(self, network: Callable[[Tensor], Tensor], run: str, epoch: int, fingerprint: str) -> CalibrationRecord:
        """What the outputs of a network mean.

        Args:
            network: maps inputs, on whatever device they are, to outputs ``(points, outputs)`` or ``(points,)``.
            run, epoch, fingerprint: for the record; fill in the rest with ``dataclasses.replace``.
        """
        if not len(self.x):
            return CalibrationRecord(run, epoch, fingerprint, why=self.why)
        with torch.no_grad():
            parts = [network(part).detach().to("cpu", torch.float64) for part in self.x.split(CHUNK)]
        return calibrate(torch.cat(parts), (self.x, self.y), self.problem, run, epoch, fingerprint, self.ignore_index)


def calibrate(
    outputs: Tensor,
    inputs: Inputs,
    problem: LocalLipschitz,
    run: str,
    epoch: int,
    fingerprint: str,
    ignore_index: int = IGNORE_INDEX,
) -> CalibrationRecord:
    """The factor by which a constant is multiplied, and how good the outputs are, from outputs at points and their targets.

    Points that stand there twice count once. Integer targets ``(points,)`` of a network with several outputs are classes.
    Targets in {0, 1}, one for each output, are labels, each of a sigmoid. Other targets, one for each output, are values,
    whole numbers too, where the functional does not start from labels; but whole ones among -1, 0, 1 and ``ignore_index``
    alone may be labels, some of them missing, so that integers of these have to be given as floats if they are values.

    Args:
        outputs: ``(points, ...)`` in float64.
        inputs: the points and their targets.
        problem: its p and q measure the scales of regression.
        run, epoch, fingerprint: for the record.
        ignore_index: a label that, like -1, leaves a point out.
    """
    x, y = inputs
    outputs = outputs.reshape(len(outputs), -1)
    kept = distinct_points(x, y)
    x, y, outputs = x[kept], None if y is None else y[kept], outputs[kept]
    blank = CalibrationRecord(run, epoch, fingerprint, points=len(x), reference=_reference(x, y))
    if not torch.isfinite(outputs).all():
        return replace(blank, why="the outputs are not finite")
    if y is None:
        return replace(blank, why="there are no targets")
    count = outputs.shape[1]
    if are_classes(y, len(x)) and count > 1:
        y = y.cpu().long()
        kept = labelled(y, ignore_index)
        if not kept.any():
            return replace(blank, points=0, why="no point has a class")
        x, y = x[kept], y[kept]
        blank = replace(blank, reference=_reference(x, y))
        if not 0 <= int(y.min()) <= int(y.max()) < count:
            return replace(blank, why=f"targets are no classes of {count} outputs")
        return fitted(replace(blank, task="classes", points=len(y)), of_classes(outputs[kept], y))
    if y.is_complex() or y.numel() != outputs.numel():
        return replace(blank, why=f"targets of shape {tuple(y.shape)} for outputs of shape {tuple(outputs.shape)}")
    targets = y.detach().to("cpu", torch.float64).reshape(outputs.shape)
    if bool(((targets == 0) | (targets == 1)).all()):
        return fitted(replace(blank, task="labels"), of_labels(outputs, targets))
    if problem.output.needs_labels:
        return replace(blank, why="the targets are neither classes of several outputs nor 0 and 1")
    if not y.is_floating_point() and bool(torch.isin(targets, torch.tensor([-1.0, 0.0, 1.0, ignore_index])).all()):
        seen = ", ".join(f"{value:g}" for value in targets.unique().tolist())
        either = f"targets {seen}, which may be labels of a sigmoid or values: give labels as 0 and 1, values as floats"
        return replace(blank, why=either)
    return _of_values(replace(blank, task="values"), outputs, targets, x, problem)


def distinct_points(x: Tensor, y: Tensor | None) -> Tensor:
    """Which points have no twin of the same input and target before them, ``(points,)`` bool: what is drawn twice is one."""
    seen: set[bytes] = set()
    both = keys(x) if y is None else [a + b for a, b in zip(keys(x), keys(y), strict=True)]
    return torch.tensor([not (each in seen or seen.add(each)) for each in both], dtype=torch.bool)


def among(x: Tensor, others: Set[bytes]) -> Tensor:
    """Which of some points are one of the others, ``(points,)`` bool.

    Args:
        x: the points.
        others: the ``keys`` of the others, made once for however many calls.
    """
    return torch.tensor([key in others for key in keys(x)], dtype=torch.bool)


def keys(x: Tensor) -> list[bytes]:
    """What tells points apart: equal for equal numbers in float64."""
    return [_bytes(each) for each in x]


def _bytes(x: Tensor) -> bytes:
    return (x.detach().to("cpu", torch.float64).contiguous() + 0.0).numpy().tobytes()  # -0.0 is 0.0


def _of_values(
    record: CalibrationRecord, outputs: Tensor, targets: Tensor, x: Tensor, problem: LocalLipschitz
) -> CalibrationRecord:
    """The record with what standard deviations make of a constant."""
    if not torch.isfinite(targets).all():
        return replace(record, why="targets are not finite")
    inputs = x.detach().to("cpu", torch.float64).std(0, correction=0)
    if not problem.plain:  # in the question's units, of the inputs that it measures
        units = counts_of(inputs.shape, problem.scale, None, inputs)
        inputs = inputs / units * (counts_of(inputs.shape, None, problem.measured, inputs))
    inputs = inputs.flatten()
    spread = targets.std(0, correction=0)
    input_scale, target_scale = float(vector_norm(inputs, problem.p)), _target_scale(problem, targets)
    if not (input_scale > 0 and target_scale > 0):
        same = "inputs" if not input_scale > 0 else "targets"
        return replace(record, why=f"all {same} are the same")
    losses = (outputs - targets).square().sum(1) / spread.square().sum()
    error, factor = float(losses.mean()), input_scale / target_scale
    record = replace(record, input_scale=input_scale, target_scale=target_scale, raw_loss=finite(error))
    if not error < 1 or not SMALLEST <= factor <= 1 / SMALLEST:
        return replace(record, why="the outputs are no closer to the targets than the targets' mean is")
    spread_of_losses = float(losses.std(correction=0)) / math.sqrt(len(losses))
    return replace(record, factor=factor, loss=error, loss_error=spread_of_losses)


def _target_scale(problem: LocalLipschitz, targets: Tensor) -> float:
    """|t|_q, t the standard deviations of the outputs' targets; of a scalar functional, that of its value on the targets."""
    if problem.q is not None:
        return float(vector_norm(targets.std(0, correction=0), problem.q))
    rows = problem.output.rows(targets[:1], None)[0]
    return float((targets @ rows.T).std(0, correction=0).max())


def _reference(x: Tensor, y: Tensor | None) -> str:
    """Hash of points and targets."""
    digest = hashlib.sha256()
    for part in (x, y):
        if part is not None:
            part = part.detach().cpu().contiguous()
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(as_bytes(part))
    return digest.hexdigest()[:32]
