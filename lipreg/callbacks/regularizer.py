"""LipschitzRegularizer: a penalty on the bounds of each batch, in the loss of an unchanged LightningModule."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from lipreg.bounds import METHODS
from lipreg.callbacks.batches import batch_to_inputs as usual_batch_to_inputs
from lipreg.callbacks.batches import find_network
from lipreg.callbacks.training_step import add_to_loss, check_loss_is_used
from lipreg.errors import InvalidInput, LipregError
from lipreg.estimators import differentiable_bound, estimate
from lipreg.graph import CapturedNetwork, capture
from lipreg.penalties import get_penalty
from lipreg.problem import LocalLipschitz


class LipschitzRegularizer(pl.Callback):
    r"""Trains on loss + weight * penalty(B_1, ..., B_batch), B_i an upper bound on the local constant at input i.

    While ``fit`` runs, the loss that ``training_step`` returns (a tensor, or the "loss" of a dict) has the penalty
    added, on this instance of the module only; accumulation, clipping, mixed precision and DDP then treat the sum as
    one loss. Bounds are those of ``lipreg.estimate`` at the batch's inputs, in evaluation mode (dropout off, running
    statistics of batch norm) and in float32 outside of autocast (float64 for float64 parameters). Gradients reach the
    parameters, not the inputs. The network is traced at the first batch; its weights are read anew at every step.

    With weight 0 the step's output is returned as it came and nothing is computed: training is bit for bit what it is
    without the callback, so that a twin run differs in the weight alone.

    Logs epoch means, ``lipreg/penalty`` (without the weight), ``lipreg/bound_mean`` and ``lipreg/weight``, and the
    epoch's largest bound, ``lipreg/bound_max``. They carry float32 rounding; an audit certifies.

    Args:
        problem: the question: region, output functional, scope and norms.
        bound: name of a differentiable estimator.
        weight: >= 0, in loss per unit of penalty. The attribute may be changed during training.
        penalty: name of a penalty: "mean", "worst_k", "hinge", "log", or a registered one.
        penalty_options: its options by name, such as ``{"target": 5.0}``.
        points: "all", or how many inputs of each batch to bound, drawn anew for every batch.
        module: path of the submodule that is the network ("net"); None for the LightningModule's own ``forward``.
        preactivations: some of "ball", "interval", "crown"; None for all that cover the network.
        batch_to_inputs: batch -> (x, y or None), for batches that are not ``(x, y)`` or a dict of the usual keys.
        seed: of the choice of points; the callback owns the generator and checkpoints it.
        log_bound: with weight 0, compute and log the bounds all the same, without gradient; training stays as it is.
        name: first part of the logged names; must differ between two regularizers of one trainer.

    Raises:
        InvalidInput: an argument out of range or an unknown name. At the start of ``fit``: no such submodule, or two
            regularizers of one ``name``. At a batch: inputs outside the region's data range, or labels missing.
        UnsupportedRequest: the bound does not cover the problem or cannot be differentiated. At the start of ``fit``:
            manual optimization, sharded parameters, or a step that takes ``dataloader_iter``.
        UnsupportedModel: at the first batch, calls in the network that no graph covers.
    """

    def __init__(
        self,
        problem: LocalLipschitz,
        bound: str = "affine_relu",
        weight: float = 1e-2,
        penalty: str = "mean",
        penalty_options: dict[str, Any] | None = None,
        points: Literal["all"] | int = "all",
        module: str | None = None,
        preactivations: Sequence[str] | None = None,
        batch_to_inputs: Callable[[Any], tuple[Tensor, Tensor | None]] | None = None,
        seed: int = 0,
        log_bound: bool = False,
        name: str = "lipreg",
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if not isinstance(problem, LocalLipschitz):
            raise InvalidInput(f"problem={problem!r}", where=where, accepted="a LocalLipschitz")
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < math.inf:
            raise InvalidInput(f"weight={weight!r}", where=where, accepted="a finite number of at least 0")
        if points != "all" and (not isinstance(points, int) or isinstance(points, bool) or points < 1):
            raise InvalidInput(f"points={points!r}", where=where, accepted='"all", or a number of at least 1')
        methods = METHODS if preactivations is None else preactivations
        if isinstance(methods, str) or not methods or set(methods) - set(METHODS):
            listed = f"None, or a list of some of {', '.join(METHODS)}"
            raise InvalidInput(f"preactivations={preactivations!r}", where=where, accepted=listed)
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"name={name!r}", where=where, accepted="a text that is not empty")
        differentiable_bound(bound).check(problem)
        self.problem, self.bound, self.weight, self.points = problem, bound, weight, points
        self.penalty = get_penalty(penalty, penalty_options)
        self.module, self.name, self.log_bound, self.seed = module, name, log_bound, seed
        self.preactivations = None if preactivations is None else tuple(preactivations)
        self.batch_to_inputs = batch_to_inputs or usual_batch_to_inputs
        self._generator = torch.Generator().manual_seed(seed)
        self._captured: CapturedNetwork | None = None
        self._take_off: Callable[[], None] | None = None
        self._chosen: Tensor | None = None  # this batch's points; an optimizer may run the step on it several times
        self._batch_idx = 0

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

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._chosen, self._batch_idx = None, batch_idx

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._release()  # after an error there is no teardown

    @property
    def state_key(self) -> str:
        """Tells instances with different settings apart; the weight may change between a checkpoint and its use."""
        settings = {
            "problem": self.problem.describe(),
            "bound": self.bound,
            "penalty": self.penalty.describe(),
            "points": self.points,
            "module": self.module,
            "preactivations": self.preactivations,
            "seed": self.seed,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        return self._generate_state_key(name=self.name, settings=digest)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._generator.set_state(state_dict["generator"].cpu())

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to the running fit: a copy is attached to no module."""
        kept = {key: value for key, value in self.__dict__.items() if key not in ("log", "log_dict")}  # the module's
        return {**kept, "_captured": None, "_take_off": None, "_chosen": None}

    def _loss_term(self, pl_module: pl.LightningModule, batch: Any) -> Tensor | None:
        """weight * penalty at the batch, logged; None when there is nothing to add."""
        if not pl_module.trainer.training:
            return None  # a validation_step may call training_step
        log = partial(pl_module.log, on_step=False, on_epoch=True, sync_dist=True)
        if self.weight == 0 and not self.log_bound:
            log(f"{self.name}/weight", 0.0, batch_size=1)
            return None
        try:
            with torch.no_grad() if self.weight == 0 else nullcontext():
                bounds = self._bounds(pl_module, batch)
                penalty = self.penalty(bounds)
        except LipregError as error:
            where = f"{type(self).__name__}, epoch {pl_module.current_epoch}, batch {self._batch_idx}"
            where += f": {error.where}" if error.where else ""
            raise type(error)(error.got, where=where, accepted=error.accepted, todo=error.todo) from error
        bounds, size = bounds.detach(), len(bounds)
        log(f"{self.name}/penalty", penalty.detach(), batch_size=size)
        log(f"{self.name}/bound_mean", bounds.mean(), batch_size=size)
        log(f"{self.name}/bound_max", bounds.max(), batch_size=size, reduce_fx="max")
        log(f"{self.name}/weight", float(self.weight), batch_size=size)
        return None if self.weight == 0 else self.weight * penalty

    def _bounds(self, pl_module: pl.LightningModule, batch: Any) -> Tensor:
        """Upper bounds at the chosen points of the batch, ``(points,)``."""
        x, y = self.batch_to_inputs(batch)
        if not x.is_floating_point():
            raise InvalidInput(
                f"inputs of dtype {x.dtype}", where="batch", accepted="what the network is given: floating point"
            )
        if self.problem.output.needs_labels and y is None:
            raise InvalidInput(
                f"no labels, which {type(self.problem.output).__name__} starts from",
                where="batch",
                todo="Pass batch_to_inputs=, a function batch -> (x, y), or name the output index in the functional",
            )
        if isinstance(self.points, int) and self.points < len(x):
            if self._chosen is None:  # drawn on the CPU, so that every device bounds the same points
                self._chosen = torch.randperm(len(x), generator=self._generator)[: self.points]
            chosen = self._chosen.to(x.device)
            x, y = x[chosen], None if y is None else y[chosen]
        network = find_network(pl_module, self.module)
        parameter = next(network.parameters(), x)
        with torch.autocast(x.device.type, enabled=False):
            captured = self._capture(network, x)
            graph = captured.live(torch.promote_types(parameter.dtype, torch.float32))
            return estimate(graph, self.problem, x.detach(), y, bound=self.bound, preactivations=self.preactivations)

    def _capture(self, network: nn.Module, x: Tensor) -> CapturedNetwork:
        """The network's structure: read once, and again if another network or input shape takes its place."""
        own = getattr(network, "_orig_mod", network)  # what torch.compile wrapped
        known = self._captured
        if known is None or known.module is not own or known.input_shape != tuple(x.shape[1:]):
            known = self._captured = capture(own, x)
        return known

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
        self._take_off, self._captured, self._chosen = None, None, None
