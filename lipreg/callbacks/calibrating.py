"""The points that a training's audits calibrate the outputs with, and the calibration of the weights as they are now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lipreg.calibration import CalibrationPoints, among, keys
from lipreg.callbacks.batches import as_steps_see_it, batch_to_inputs
from lipreg.callbacks.reference_points import examples, first_loader, joined, validation_loaders
from lipreg.errors import InvalidInput, LipregError
from lipreg.graph import CapturedNetwork, untouched_random_state
from lipreg.points import Inputs, Points, Which
from lipreg.problem import LocalLipschitz
from lipreg.records import CalibrationRecord


def check_calibration(calibration: Which | Points | None, where: str) -> None:
    """Refuses what is neither a number of points, nor points, nor None.

    Args:
        calibration: ``AuditLog.calibration``.
        where: what was given it, for the error.

    Raises:
        InvalidInput: something else.
    """
    if calibration is None:
        return
    points = Points.of(calibration, f"{where}.calibration")
    if points.count is None and points.supplied_points is None:
        accepted = "a number of points, (x, y), or None"
        raise InvalidInput(f"calibration={points.which!r}", where=where, accepted=accepted)


def training_calibration(
    calibration: Which | Points | None, trainer: pl.Trainer, audited: Inputs, drawn: Points, problem: LocalLipschitz
) -> CalibrationPoints | None:
    """The points of a training's calibrations, on the CPU; None without calibration.

    Args:
        calibration: ``AuditLog.calibration``.
        trainer: with the validation data.
        audited: the reference points.
        drawn: how those were drawn; its seed, its reading of batches and its ``ignore_index`` hold here too.
        problem: the question.
    """
    if calibration is None:
        return None
    wanted = calibration
    if not isinstance(wanted, Points):
        wanted = replace(Points.of(wanted, "AuditLog.calibration"), ignore_index=drawn.ignore_index)
    wanted = wanted if wanted.seed is not None else replace(wanted, seed=drawn.seed)
    read = wanted.batch_to_inputs or drawn.batch_to_inputs or batch_to_inputs
    loaders = None if wanted.supplied_points is not None else validation_loaders(trainer)
    return calibration_points(loaders, wanted, partial(as_steps_see_it, trainer, "validate", read), audited, problem)


def calibration_points(
    loaders: Any, points: Points, read: Callable[[Any], Inputs], audited: Inputs, problem: LocalLipschitz
) -> CalibrationPoints:
    """The points of calibrations, on the CPU: the user's own, or the first of a loader; none without a loader.

    Args:
        loaders: a loader, or several, of which the first counts.
        points: how many, or which, and the seed of their order.
        read: a batch -> inputs and targets.
        audited: points that are none of them.
        problem: the question.
    """
    taken = set(keys(audited[0]))
    if points.supplied_points is not None:
        return CalibrationPoints(*_without(points.supplied_points, taken), problem, points.ignore_index)
    if (loader := first_loader(loaders)) is None:
        return CalibrationPoints(torch.empty(0), None, problem)
    batches, missing = [], points.count or 0
    try:
        with untouched_random_state():
            for x, y in examples(loader, points.seed or 0, read):
                _check_inputs(x, audited[0])
                batches.append(_without((x, y), taken))
                missing -= len(batches[-1][0])
                if missing <= 0:
                    break
    except InvalidInput as error:  # an audit of the user's own points needs no such data: its records have the reason
        return CalibrationPoints(torch.empty(0), None, problem, why=f"the validation data cannot be read: {error.got}")
    x, y = joined(batches) if batches else (torch.empty(0), None)
    return CalibrationPoints(x[: points.count], None if y is None else y[: points.count], problem, points.ignore_index)


def calibration_of(
    points: CalibrationPoints | None, captured: CapturedNetwork, run: str, epoch: int
) -> CalibrationRecord | None:
    """The calibration of the network as it is now.

    Args:
        points: what it is calibrated with; None for no calibration.
        captured: the network.
        run: label of the run.
        epoch: completed epochs.

    Returns:
        None without points, for the difference of two networks, or if the network cannot be audited either.
    """
    if points is None:
        return None
    try:
        with untouched_random_state(), torch.no_grad():
            if (graph := captured.live()).of:  # the difference of two networks has no logits
                return None
            first = next(captured.module.parameters(), torch.zeros(()))
            return points.of(lambda x: graph(x.to(first)), run, epoch, captured.frozen().fingerprint())
    except LipregError:  # the audit of the same weights says why
        return None


def _check_inputs(x: Tensor, audited: Tensor) -> None:
    """Raises InvalidInput unless these are inputs like the audited ones."""
    if not x.is_floating_point() or x.shape[1:] != audited.shape[1:]:
        got = f"inputs of shape {tuple(x.shape)} and dtype {str(x.dtype).removeprefix('torch.')}"
        raise InvalidInput(got, where="calibration", accepted="inputs like the audited points")


def _without(inputs: Inputs, audited: set[bytes]) -> Inputs:
    """The points that are not audited, on the CPU; without targets where those are not one for each point."""
    x, y = inputs[0].detach().cpu(), inputs[1]
    y = y.detach().cpu() if y is not None and y.shape[:1] == x.shape[:1] else None
    kept = ~among(x, audited)
    return x[kept], None if y is None else y[kept]
