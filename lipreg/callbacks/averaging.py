"""The weights at the end of a training: those of its last step, or averaged ones that a callback puts in their place.

``StochasticWeightAveraging`` and ``WeightAveraging`` (``EMAWeightAveraging``) do that in ``on_train_end``, before or after
an audit's, by the order of the callbacks. In ``on_fit_end`` all of them are done. Until then, at the end of an epoch too,
the model holds the weights that the optimizer steps: averaged ones are in it for validation and in checkpoints alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import nn

from lipreg.auditing import PointAudit
from lipreg.errors import LipregError
from lipreg.graph import CapturedNetwork
from lipreg.records import WEIGHTS

TRAINING, AVERAGED, REPLACED = WEIGHTS


def averages(trainer: pl.Trainer) -> list[nn.Module]:
    """The averaged models of the trainer's callbacks."""
    models = [getattr(callback, "_average_model", None) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    return [getattr(model, "module", model) for model in models if isinstance(model, nn.Module)]


def not_audited(trainer: pl.Trainer, module: nn.Module, captured: CapturedNetwork, audited: str) -> str:
    """The kind of the weights at the end of ``fit`` (``AuditRecord.weights``), if they are still to be audited; else "".

    Args:
        trainer: at the end of ``fit``.
        module: the LightningModule.
        captured: its network.
        audited: fingerprint of the last audit, if that was of the last epoch.
    """
    averaged = averages(trainer)
    if not audited and not averaged:  # the audit of the end has failed, or was not to be waited for
        return ""
    if audited and captured.frozen().fingerprint() == audited:
        return ""
    if any(_equal(average, module) for average in averaged):
        return AVERAGED
    return REPLACED if audited else TRAINING


def warn_if_replaced(captured: CapturedNetwork | None, audited: Sequence[PointAudit]) -> None:
    """Warns if the model is left with other weights than were audited last: replaced after the audit's own end.

    Args:
        captured: the network; None where nothing was trained, or its end was not audited.
        audited: the audit of the end.
    """
    if captured is None or not audited:
        return
    try:
        same = captured.frozen().fingerprint() == audited[0].fingerprint
    except LipregError:  # it can no longer be read
        same = False
    if not same:
        warnings.warn(
            "the weights of the last audit were replaced in on_fit_end or later, after it: its numbers are of those before. "
            "Replace them in on_train_end, or put the callback that does so before the audit",
            stacklevel=3,
        )


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a.detach().cpu(), b.detach().cpu()) for a, b in pairs)
