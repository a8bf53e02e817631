"""The settings that tell a logged run from others in W&B and TensorBoard: its role, its twin, its seed and weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lipreg.records import RunRecord

WITH, WITHOUT = "with penalty", "without penalty"
"""The roles: a twin is a run without a penalty."""


def introduction(record: RunRecord) -> dict[str, Any]:
    """The settings by which runs are filtered, grouped and sorted.

    ``lipreg_pair`` is equal for a run and its twin: the id of the twin. Of a run without a twin it is its own id.
    ``lipreg_weight`` is not among them while ``weight="auto"`` is not determined yet.
    """
    settings = {
        "lipreg_role": WITH if record.weight or not is_weight_set(record) else WITHOUT,
        "lipreg_pair": record.twin_id or record.id,
        "lipreg_run_id": record.id,
        "lipreg_seed": record.seed,
        "lipreg_quantity": record.penalty.get("quantity", ""),
        "lipreg_bound": record.bound or "",
    }
    return settings | ({"lipreg_weight": record.weight} if is_weight_set(record) else {})


def is_weight_set(record: RunRecord) -> bool:
    """Whether the weight is a number: one of "auto" is determined at the first batch, after the first audit."""
    return record.penalty.get("weight", 0.0) is not None


def show_settings(board: Any, record: RunRecord, metrics: Iterable[str]) -> None:
    """Writes the settings of a run, and which scalars belong to them, for TensorBoard's page HPARAMS; once a run.

    Where settings were written before, as by a module that saves its hyperparameters, TensorBoard keeps those.

    Args:
        board: the writer.
        record: of the run.
        metrics: names of scalars.
    """
    from torch.utils.tensorboard.summary import hparams  # the package tensorboard, which whoever has a writer has

    who, settings = introduction(record), _flat(record.settings)
    if who["lipreg_role"] == WITHOUT:  # its job's configuration is about the penalty of the other run
        settings = {name: value for name, value in settings.items() if not name.startswith("regularizer.")}
    recorded = {name: value for name, value in (who | settings).items() if value is not None}
    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in recorded.items()
    }
    for summary in hparams(plain, dict.fromkeys(metrics, 0.0)):
        board.file_writer.add_summary(summary)


def _flat(settings: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for key, inner in settings.items():
        dotted = f"{name}.{key}" if name else str(key)
        flat |= _flat(inner, dotted) if isinstance(inner, Mapping) else {dotted: inner}
    return flat
