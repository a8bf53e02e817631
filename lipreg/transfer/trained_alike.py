"""In what two trainings differ beside their penalty, as far as their records tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lipreg.plain import alike, flatten
from lipreg.words import plain

_SECTIONS = ("data", "model", "trainer")
"""Settings that a run and its twin share."""
_WORDS = {
    "lr": "learning rate",
    "learning_rate": "learning rate",
    "max_epochs": "epochs",
    "accumulate_grad_batches": "accumulated batches",
    "effective_batch": "inputs a step",
    "batch_size": "batch size",
}
_LATER = ("accelerator", "processes", "accumulate_grad_batches", "precision", "batch_size", "effective_batch")
"""The settings of a trainer that older records lack: where one of two lacks one, it counts as no difference."""


def training_differences(run: Mapping[str, Any], twin: Mapping[str, Any], epochs: bool = True) -> list[str]:
    """Each difference of two ``RunRecord.settings`` in words: "processes 1 instead of 2", the twin's value first.

    Args:
        run, twin: the settings.
        epochs: whether the number of epochs that was asked for counts.
    """
    sections = [name for name in _SECTIONS if not alike(run.get(name), twin.get(name))]
    mine, theirs = (
        flatten({name: settings[name] for name in sections if name in settings}) for settings in (run, twin)
    )
    sentences = []
    for key in dict.fromkeys((*theirs, *mine)):
        one, other = theirs.get(key), mine.get(key)
        section, _, name = key.partition(".")
        untold = section == "trainer" and name in _LATER and None in (one, other)
        if one == other or untold or (name == "max_epochs" and not epochs):
            continue
        last = key.rpartition(".")[2]
        word = _WORDS.get(last, last if last in _LATER else plain(key, 60))
        sentences.append(f"{word} {_value_words(one)} instead of {_value_words(other)}")
    return sentences


def _value_words(value: str | None) -> str:
    return "not recorded" if value is None else plain(value, 40)
