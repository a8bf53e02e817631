"""LipschitzRegularizer: a penalty on the bounds of each batch, in the loss of an unchanged LightningModule."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import CombinedLoader
from torch import Tensor

from lipreg.arguments import check_switches, check_texts, moved_arguments, moved_options
from lipreg.callbacks.batches import as_steps_see_it, batch_to_inputs, batches_of, find_network
from lipreg.callbacks.error_context import ErrorContext
from lipreg.callbacks.measures import EpochSums, StepClock
from lipreg.callbacks.processes import mean_over_processes, total_over_processes
from lipreg.callbacks.reference_points import LabelsRead, draw_reference_points
from lipreg.callbacks.state_keys import StateKey
from lipreg.callbacks.training_step import add_to_loss, check_loss_is_used, warn_if_untrained
from lipreg.errors import InvalidInput
from lipreg.estimators import Bound
from lipreg.lightning import Callback, is_overridden
from lipreg.penalties import PENALTIES, Penalty
from lipreg.points import Inputs, Points, Which, moved_points
from lipreg.problem import LocalLipschitz
from lipreg.quantities import Quantity
from lipreg.schedules import SCHEDULES, Schedule
from lipreg.training import Auto, LipschitzPenalty
from lipreg.training.sizes import warn_of_first_term


class LipschitzRegularizer(Callback):
    r"""Trains on loss + weight * penalty(B_1, ..., B_batch), B_i a bound on the local constant at input i, or a quantity.

    While ``fit`` runs, the loss that ``training_step`` returns (a tensor, or the "loss" of a dict) has the penalty
    added, on this instance of the module only; accumulation, clipping, mixed precision and DDP then treat the sum as
    one loss. The term itself is a ``lipreg.LipschitzPenalty``, which says how bounds are taken; it serves loops without
    Lightning, and manual optimization, too.

    With weight 0 the step's output is returned as it came and nothing is computed: training is bit for bit what it is
    without the callback, so that a twin run differs in the weight alone.

    Bounds are on the network in evaluation mode, whatever mode a step runs in: without dropout, and with the running
    statistics of batch norm (``capture(..., running_statistics=True)``), which the step's own loss does not use. The
    penalty has no gradient through them.

    Logs epoch means, over the batches and points of all processes: ``lipreg/penalty`` (without the weight),
    ``lipreg/weight`` and, of an upper bound, ``lipreg/bound_mean``; and the epoch's largest, ``lipreg/bound_max``. What is
    an estimate, as bounds for p = 2 are by default, goes by its own name: ``lipreg/jacobian_mean``, ``_max``. Loggers, and
    the attribute ``time_share``, also have ``lipreg/time_share``: the part of the time from a batch's start to its end that
    the penalty and its gradient take. Bounds carry float32 rounding; an audit certifies.

    Checkpoints hold the generator of the points, fixed points, the schedule and the warm starts of power iterations, so
    a resumed run goes on as if it had not stopped. (With several processes the warm starts are those of rank 0.) For the
    same reason one callback in a second ``fit`` goes on with its schedule; make another to begin anew. The penalty comes
    after the module's own step, and sees a batch as that has left it.

    Args:
        problem: the question: region, output functional, scope and norms.
        bound, quantity, penalty: what is penalised, and what becomes of its values; see ``LipschitzPenalty``. Beside a
            ``quantity`` the bound is not used in training: audits compare the run with it.
        weight: >= 0, in loss per unit of penalty; or "auto", an ``Auto(fraction=...)``: by the loss's gradient at the first
            evaluated batch, for all processes the same, and kept in checkpoints. The attribute may be changed in training.
        schedule: what becomes of the weight: "constant", "linear", "cosine" or another name of ``lipreg.schedules``; an
            object of there, such as ``Linear(batches=500)``, without a length over all of training; or one as plain data.
        points: "all"; how many inputs of each batch to bound, drawn anew for every batch; a fixed set, x or (x, y); or a
            ``Points``, which has too whether a number is drawn once and kept, by which seed, how batches are read, and
            which label leaves a point out. The callback owns the generator and checkpoints it.
        every: evaluate at the first of every so many batches, with so many times the weight: on average the same
            gradient, at a fraction of the time. What is logged is of the evaluated batches.
        module: path of the submodule that is the network ("net"); None for the LightningModule's own ``forward``.
        name: first part of the logged names; must differ between two regularizers of one trainer.
        log_bound: with weight 0, compute and log the bounds all the same, without gradient; training stays as it is.

    Raises:
        InvalidInput: an argument out of range or an unknown name. At the start of ``fit``: no such submodule, or two
            regularizers of one ``name``. At a batch: inputs outside the region's data range, or labels missing.
        UnsupportedRequest: the bound does not cover the problem or cannot be differentiated. At the start of ``fit``:
            manual optimization, sharded parameters, or a step that takes ``dataloader_iter``.
        UnsupportedModel: at the first batch, calls in the network that no graph covers.
    """

    @moved_arguments(
        moved_options("penalty", PENALTIES, "mean"),
        moved_options("schedule", SCHEDULES, "constant"),
        moved_points("fixed_points", "seed", "batch_to_inputs", "ignore_index"),
    )
    def __init__(
        self,
        problem: LocalLipschitz,
        *,
        bound: str | Bound = "affine_relu",
        quantity: str | Quantity | Mapping[str, Any] | None = None,
        weight: float | str | Auto | Mapping[str, Any] = 1e-2,
        penalty: str | Penalty | Mapping[str, Any] = "mean",
        schedule: str | Schedule | Mapping[str, Any] = "constant",
        points: Which | Points = "all",
        every: int = 1,
        module: str | None = None,
        name: str = "lipreg",
        log_bound: bool = False,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        check_texts(where, name=name, module=module)
        check_switches(where, log_bound=log_bound)
        self.points = Points.of(points, where)
        self.term = LipschitzPenalty(
            None,
            problem,
            bound=bound,
            quantity=quantity,
            weight=weight,
            penalty=penalty,
            schedule=schedule,
            # what needs a trainer's data is done here
            points=replace(self.points, fixed=False, batch_to_inputs=None),
            every=every,
            where=where,
        )
        self.problem, self.bound, self.module = problem, self.term.bound, module
        self.name, self.log_bound = name, log_bound
        self._take_off: Callable[[], None] | None = None
        self._sums, self._clock = EpochSums(self.term), StepClock()
        self._batch_idx, self._batches, self._key = 0, None, StateKey()
        self._compared = False  # the first term with the loss

    @property
    def lowers_bound(self) -> bool:
        """Whether ``bound`` is what is penalised, rather than a quantity that is compared with it."""
        return self.term.quantity.label == self.bound.label

    @property
    def weight(self) -> float:
        """The weight before the schedule's factor, of "auto" 0 until it is determined; may be set during training."""
        return self.term.weight

    @weight.setter
    def weight(self, weight: float | str | Auto) -> None:
        """Sets the weight: a number, or "auto" or an ``Auto`` to determine it at the next evaluated batch."""
        self.term.weight = weight

    @property
    def time_share(self) -> float | None:
        """The penalty's part of the time of the last epoch's steps; None before an epoch is over."""
        return self._sums.time_share

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._release()
        others = [c for c in trainer.callbacks if isinstance(c, LipschitzRegularizer)]  # type: ignore[attr-defined]
        if self.name in [c.name for c in others if c is not self]:
            raise InvalidInput(
                f"two regularizers log under {self.name!r}",
                where=type(self).__name__,
                todo='Pass name="..." to one of them',
            )
        check_loss_is_used(trainer, pl_module)
        # the module's own setup and configure_model run after this and may build the network: on_fit_start looks then
        builds_late = is_overridden("setup", pl_module) or is_overridden("configure_model", pl_module)
        if not builds_late:
            self._check_network(pl_module)
        self._take_off = add_to_loss(pl_module, partial(self._loss_term, pl_module))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        check_loss_is_used(trainer, pl_module)
        self._check_network(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._batches = batches_of(trainer)
        if self.weight > 0 or self.term.weight_pending:
            warn_if_untrained(trainer, find_network(pl_module, self.module))
        if self.points.fixed and self.term.points.fixed is None:
            where = type(self).__name__
            read = partial(as_steps_see_it, trainer, "train", self._read)
            loaders: Any = trainer.train_dataloader
            if isinstance(loaders, dict | list | tuple):  # steps take a batch of each together
                loaders = (batch for batch, *_ in CombinedLoader(loaders, "max_size_cycle"))
            assert self.points.count is not None
            labels = LabelsRead(self.problem.output, self.points.ignore_index)
            request = loaders, "training", self.points.count, self.points.seed or 0, read, where, labels
            self.term.points.fixed = draw_reference_points(*request)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._sums.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._batch_idx = batch_idx
        with self._placed(pl_module):
            self.term.next_batch(batches=self._batches, rank=trainer.global_rank)
        self._clock.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._sums.add_batch(self.term.current_weight, *self._clock.stop())
        self.term.end_batch(partial(mean_over_processes, trainer, pl_module))
        if trainer.is_last_batch:  # not later: callbacks that monitor these read them before our own epoch end
            self._sums.log(trainer, pl_module, self.name)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._sums.log(trainer, pl_module, self.name, counted=True)  # of an epoch that was cut short: others are logged

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._release()  # after an error there is no teardown

    @property
    def state_key(self) -> str:
        """The key of this callback's state by its settings; the weight may change between a checkpoint and its use."""
        settings: dict[str, Any] = {
            "name": self.name,
            "problem": self.problem,
            "bound": self.bound,
            "penalty": self.term.penalty,
            "schedule": self.term.schedule,
            "points": "given" if self.points.supplied_points is not None else self.points.which,
            "fixed_points": self.points.fixed,
            "every": self.term.every,
            "module": self.module,
            "seed": self.points.seed or 0,
        }
        if not self.lowers_bound:
            settings["quantity"] = self.term.quantity
        return self._key.of(self._digested, **settings)

    def _digested(self, name: str, **settings: Any) -> str:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        return self._generate_state_key(name=name, settings=digest)

    def state_dict(self) -> dict[str, Any]:
        return self.term.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.term.load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to the running fit: a copy is attached to no module."""
        kept = {key: value for key, value in self.__dict__.items() if key not in ("log", "log_dict")}  # the module's
        term = copy.copy(self.term)
        term.release()
        return {**kept, "term": term, "_take_off": None, "_sums": EpochSums(term), "_clock": StepClock()}

    def _loss_term(self, pl_module: pl.LightningModule, batch: Any, loss: Tensor) -> Tensor | None:
        """weight * penalty at the batch; None when there is nothing to add."""
        if not pl_module.trainer.training:
            return None  # a validation_step may call training_step
        if not self.term.needs_evaluation(self.log_bound):
            return None
        total = partial(total_over_processes, pl_module.trainer, pl_module)
        with self._placed(pl_module), self._clock.forward():
            inputs = self._read(batch)
            self.term.network = find_network(pl_module, self.module)
            added = self.term.term(*inputs, log_only=self.log_bound, loss=loss, total=total)
        if added is not None:
            if not self._compared and pl_module.global_rank == 0 and self.term.auto is None:
                warn_of_first_term(added / self.term.every, loss, type(self).__name__)
            self._compared = True
            self._clock.watch_backward(added, loss)
        if self.term.last is not None:
            self._sums.add(self.term.last)
        return added

    def _read(self, batch: Any) -> Inputs:
        return (self.points.batch_to_inputs or batch_to_inputs)(batch)

    def _placed(self, pl_module: pl.LightningModule) -> ErrorContext:
        return ErrorContext(f"{type(self).__name__}, epoch {pl_module.current_epoch}, batch {self._batch_idx}")

    def _check_network(self, pl_module: pl.LightningModule) -> None:
        network = find_network(pl_module, self.module)
        if network is pl_module and not is_overridden("forward", pl_module):
            children = ", ".join(f'module="{child}"' for child, _ in pl_module.named_children())
            raise InvalidInput(
                f"{type(pl_module).__name__} has no forward of its own",
                where="module",
                accepted=children or "a LightningModule whose forward is the network",
            )

    def _release(self) -> None:
        if self._take_off is not None:
            self._take_off()
        self._take_off = None
        self.term.release()
