"""What a regularizer logs: values of an epoch, gathered without work at each step, and the time its term takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor

from lipreg.callbacks.logged import steps_taken
from lipreg.results import Certificate
from lipreg.training import Evaluation, LipschitzPenalty


class EpochSums:
    """Evaluations, weights and times of an epoch; ``log`` turns them into means over batches, points and processes.

    A call of Lightning's ``log`` at every step costs more than a small network's penalty, so there is one an epoch.

    Args:
        term: the penalty whose values they are: an upper bound, or an estimate, which goes by its own name.

    Attributes:
        time_share: the penalty's part of the time, of the last epoch that was logged; None before.
    """

    def __init__(self, term: LipschitzPenalty) -> None:
        self._name = "bound" if term.certificate == Certificate.UPPER else term.quantity.label
        self.time_share: float | None = None
        self.clear()

    def clear(self) -> None:
        """Starts an epoch."""
        self._evaluations: list[Evaluation] = []
        self._weights: list[float] = []
        self._own_seconds = self._step_seconds = 0.0

    def add(self, evaluation: Evaluation) -> None:
        """Takes in the evaluation of a batch."""
        self._evaluations.append(evaluation)

    def add_batch(self, weight: float, own_seconds: float, step_seconds: float) -> None:
        """Takes in the weight and the time of a batch.

        Args:
            weight: of the penalty, with the schedule's factor.
            own_seconds: those of the penalty, forward and backward.
            step_seconds: all seconds of the batch.
        """
        self._weights.append(weight)
        self._own_seconds += own_seconds
        self._step_seconds += step_seconds

    def log(self, trainer: pl.Trainer, pl_module: pl.LightningModule, name: str, counted: bool = False) -> None:
        """Logs the epoch's values under ``name/...``, the same on every process, and starts another epoch.

        The time share goes to the row of the trainer's own values of this epoch, whose epoch and step count from 0.

        Args:
            trainer: of the training.
            pl_module: its module, whose ``log`` is used.
            name: first part of the logged names.
            counted: whether Lightning has counted the last step, as it does when ``on_train_batch_end`` is over.
        """
        if not self._weights:
            return
        device = pl_module.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        totals = [0.0, 0.0, 0.0, sum(self._weights), len(self._weights), self._own_seconds, self._step_seconds]
        sums, largest = torch.tensor(totals, dtype=dtype), torch.full((), -torch.inf, dtype=dtype)
        if self._evaluations:
            values = torch.cat([e.values for e in self._evaluations]).to("cpu", dtype)
            sizes = torch.tensor([len(e.values) for e in self._evaluations], dtype=dtype)
            penalties = torch.stack([e.penalty for e in self._evaluations]).to("cpu", dtype)
            sums[:3] = torch.stack([(penalties * sizes).sum(), values.sum(), sizes.sum()])
            largest = values.max()
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(device), reduce_op="sum")  # type: ignore[assignment,arg-type]
            largest = trainer.strategy.reduce(largest.to(device), reduce_op="max")  # type: ignore[assignment,arg-type]
        penalty, total, points, weight, batches, own_seconds, seconds = sums.tolist()
        means = {"weight": weight / batches}
        if points:
            means["penalty"] = penalty / points
            means |= {f"{self._name}_mean": total / points, f"{self._name}_max": float(largest)}
            self.time_share = share = own_seconds / seconds
            # to the loggers alone: what the trainer keeps, and records, is the same for the same seed
            row = {f"{name}/time_share": share, "epoch": float(trainer.current_epoch)}
            for logger in trainer.loggers:
                logger.log_metrics(row, step=steps_taken(trainer) - counted)
        for key, value in means.items():
            pl_module.log(f"{name}/{key}", value, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        self.clear()


class StepClock:
    """Times a step and the part of it that a term takes, forward and backward.

    Backward passes run the nodes made last first, so the term's nodes, made after the loss's own, are done when the first
    of the loss's starts: the time between the two is the term's. On a GPU these are the host's times of launching.
    """

    def __init__(self) -> None:
        self._began, self._own = 0.0, 0.0
        self._backward_began: float | None = None

    def start(self) -> None:
        """Starts the clock of a batch."""
        self._began, self._own, self._backward_began = time.perf_counter(), 0.0, None

    def stop(self) -> tuple[float, float]:
        """The seconds of the term, and of the whole batch, which ends now."""
        return self._own, time.perf_counter() - self._began

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Counts the time of the block as the term's."""
        began = time.perf_counter()
        yield
        self._own += time.perf_counter() - began

    def watch_backward(self, added: Tensor, loss: Tensor) -> None:
        """Times the backward pass of ``added``, made after ``loss``."""
        if loss.grad_fn is None or not added.requires_grad:
            return
        added.register_hook(self._enter_backward)
        loss.grad_fn.register_prehook(self._leave_backward)

    def _enter_backward(self, _: Tensor) -> None:
        self._backward_began = time.perf_counter()

    def _leave_backward(self, _: tuple[Tensor, ...]) -> None:
        if self._backward_began is not None:
            self._own += time.perf_counter() - self._backward_began
        self._backward_began = None
