"""What the regularisers without a Lipschitz bound have in common: a term of the loss, put there by a callback."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.training_step import add_to_loss, check_loss_is_used
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.penalties import Mean, Penalty, get_penalty
from lipreg.problem import LocalLipschitz
from lipreg.schedules import Constant, Schedule, get_schedule


class Baseline(pl.Callback):
    """Adds ``term`` to the loss of every training step while ``fit`` runs, on the instance, as the library's penalty does.

    A configuration can put it in the place of a ``LipschitzRegularizer``: it takes the same question, weight and seed. With
    weight 0 nothing is computed or drawn, so training is bit for bit that of a run without it.

    Args:
        problem: the question that the audit asks. Its data range cuts what a baseline does to inputs; nothing else of it
            is used in training.
        weight: the strength, >= 0; what it measures is the subclass's to say.
        bound: the bound beside which the run is compared with its twin, for records; not used in training.
        penalty, schedule: of Lipschitz penalties, in any of their forms; a baseline has none, so only the mean and the
            constant pass.
        seed: of the baseline's own random draws.

    Raises:
        InvalidInput: a weight out of range.
        UnsupportedRequest: another penalty or schedule; at the start of ``fit``, a step whose returned loss is not used.
    """

    greatest = float("inf")
    """The weights are below it."""

    def __init__(
        self,
        problem: LocalLipschitz,
        weight: float = 0.0,
        bound: str = "affine_relu",
        penalty: str | Penalty | Mapping[str, Any] = "mean",
        schedule: str | Schedule | Mapping[str, Any] = "constant",
        seed: int = 0,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < self.greatest:
            accepted = f"a number of at least 0, below {self.greatest:g}"
            raise InvalidInput(f"weight={weight!r}", where=where, accepted=accepted)
        penalty, schedule = get_penalty(penalty), get_schedule(schedule)
        if not isinstance(penalty, Mean) or not isinstance(schedule, Constant):
            raise UnsupportedRequest(
                f"penalty={penalty.name} with schedule={schedule.name}, which are ways to penalise Lipschitz bounds",
                where=where,
                accepted="penalty=mean schedule=constant",
            )
        self.problem, self.weight, self.bound, self.seed = problem, float(weight), bound, seed
        self._generator = torch.Generator().manual_seed(seed)
        self._take_off: Callable[[], None] | None = None

    @abstractmethod
    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """What is added to the loss of a batch, a scalar; not called with weight 0.

        Args:
            module: the network, in training mode.
            x, y: the batch.
            loss: the step's own loss at it.
        """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and self.weight > 0:
            check_loss_is_used(trainer, pl_module)
            self._take_off = add_to_loss(pl_module, partial(self._loss_term, pl_module))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._release()

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._generator.set_state(state_dict["generator"].cpu())

    def drawn(self, draw: Callable[..., Tensor], like: Tensor) -> Tensor:
        """Random numbers of the shape of ``like``, from this object's own generator, on every device the same."""
        return draw(like.shape, generator=self._generator, dtype=like.dtype).to(like.device)

    def _loss_term(self, module: pl.LightningModule, batch: Any, loss: Tensor) -> Tensor | None:
        if not module.trainer.training:
            return None  # a validation_step may call training_step
        x, y = batch_to_inputs(batch)
        if y is None:
            raise InvalidInput("a batch without labels", where=type(self).__name__, accepted="(x, y)")
        return self.term(module, x, y, loss)

    def _release(self) -> None:
        if self._take_off is not None:
            self._take_off()
        self._take_off = None


class Unregularised(Baseline):
    """Nothing: training as it is, the twin of every other regulariser. Its weight is 0."""

    greatest = 1e-300

    def term(self, module: pl.LightningModule, x: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        return loss.new_zeros(())
