"""Dropout (Srivastava et al. 2014) on the hidden units of a network that was built without it."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.regularizers.baseline import Baseline


class Dropout(Baseline):
    """Sets each hidden activation to 0 with probability ``weight`` while the network trains, and scales the others up.

    It hangs on the outputs of the ``nn.ReLU`` modules for the time of the fit. In evaluation mode, and so in audits and
    validation, it does nothing. It draws from torch's global generator, as ``nn.Dropout`` does.
    """

    greatest = 1.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._hooks: list[RemovableHandle] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and self.weight > 0:
            units = [module for module in pl_module.modules() if isinstance(module, nn.ReLU)]
            self._hooks = [module.register_forward_hook(self._drop) for module in units]

    def _drop(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return nn.functional.dropout(output, self.weight, module.training)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._release()

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
