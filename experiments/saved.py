"""What a saved network is called, where it lies, and what its weights say of their training."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from lipreg.loading.weights import read_weights


def epoch_of(network: DictConfig) -> int | None:
    """The epochs that the weights of a configured network say they were trained for; None where nothing says so.

    Raises:
        InvalidInput: as ``lipreg.loading.load_network``.
    """
    return None if network.weights is None else read_weights(network.weights).epoch


def called(network: DictConfig) -> tuple[str, Path]:
    """What a configured network is called, by its file or else by its class, and the folder in which that file lies."""
    if network.weights is None and ":" in network.model:
        return network.model.rpartition(":")[2], Path()
    file = Path(network.weights or network.model)
    return file.stem, file.parent
