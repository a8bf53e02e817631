"""What tells a logged run from others: its role, its twin, its seed and weight; as settings for W&B and TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lipreg.records import RunRecord

WITH, WITHOUT = "with penalty", "without penalty"
"""The roles: a twin is a run without a penalty."""


def introduction(record: RunRecord) -> dict[str, Any]:
    """Settings by which runs are filtered, grouped and sorted.

    ``lipreg_pair`` is equal for a run and its twin: the id of the twin. Of a run without a twin it is its own id.
    ``lipreg_weight`` is not among them while ``weight="auto"`` has not been found.
    """
    told = {
        "lipreg_role": WITH if record.weight or not is_weight_known(record) else WITHOUT,
        "lipreg_pair": record.twin_id or record.id,
        "lipreg_run_id": record.id,
        "lipreg_seed": record.seed,
        "lipreg_quantity": record.penalty.get("quantity", ""),
        "lipreg_bound": record.bound or "",
    }
    return told | ({"lipreg_weight": record.weight} if is_weight_known(record) else {})


def is_weight_known(record: RunRecord) -> bool:
    """Whether ``weight="auto"``, where that was asked for, has been found: by the first batch, after the first audit."""
    return record.penalty.get("weight", 0.0) is not None


def show_settings(board: Any, record: RunRecord, metrics: Iterable[str]) -> None:
    """Tells TensorBoard's page HPARAMS the settings of a run, and which scalars belong to them; once a run.

    Where something has told it settings before, as a module that saves its hyperparameters does, TensorBoard keeps those.

    Args:
        board: the writer.
        record: of the run.
        metrics: names of scalars.
    """
    from torch.utils.tensorboard.summary import hparams  # the package tensorboard, which whoever has a writer has

    who, settings = introduction(record), _flat(record.settings)
    if who["lipreg_role"] == WITHOUT:  # its job's configuration is about the penalty of the other run
        settings = {name: value for name, value in settings.items() if not name.startswith("regularizer.")}
    told = {name: value for name, value in (who | settings).items() if value is not None}
    plain = {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in told.items()}
    for summary in hparams(plain, dict.fromkeys(metrics, 0.0)):
        board.file_writer.add_summary(summary)


def _flat(settings: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for key, inner in settings.items():
        own = f"{name}.{key}" if name else str(key)
        found |= _flat(inner, own) if isinstance(inner, Mapping) else {own: inner}
    return found
