"""Files of torch read as data: tensors and plain values, never code."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.loading.reasons import is_cut, unreadable

_WEIGHTS_ALONE = "torch.save(net.state_dict(), path)"
_OTHERWISE = f"Save the weights alone ({_WEIGHTS_ALONE}), and give the class and its arguments"
_AS_PLAIN_DATA = {
    "DictConfig": "self.save_hyperparameters(OmegaConf.to_container(cfg))",
    "ListConfig": "self.save_hyperparameters({'name': list(value)})",
    "Namespace": "self.save_hyperparameters(vars(args))",
}
"""By the name of a class, the code that saves the same hyperparameters of a Lightning checkpoint as plain data."""


def read_tensors(path: str | Path, *, where: str, accepted: str, todo: str = _OTHERWISE) -> Any:
    """The content of a file of ``torch.save``, on the CPU, read with ``weights_only``: nothing in it is run.

    Args:
        path: the file.
        where: the argument that named it, for messages.
        accepted: what is accepted there, for messages.
        todo: advice for a file with objects of other classes than those that hold hyperparameters.

    Raises:
        InvalidInput: no such file, no file of torch, or an object of another class in it; the message names the class, with
            advice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other programs, which are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own text advises to load it all the same
        if is_cut(path):  # a byte or two of an archive
            raise InvalidInput(unreadable(path, error), where=where, accepted=accepted) from None
        raise _not_plain(path, str(error), where, accepted, todo) from None
    except Exception as error:  # of any kind: the unpickler takes every byte for an instruction
        raise InvalidInput(unreadable(path, error), where=where, accepted=accepted) from None


def unusual(value: Tensor) -> str:
    """The way in which a tensor is no plain array of real numbers, in a word or two; empty where it is one."""
    if value.is_complex():
        return "complex"
    if value.is_meta:
        return "without values"
    if value.is_quantized:
        return "quantized"
    return "sparse or nested" if value.layout is not torch.strided or value.is_nested else ""


def _not_plain(path: str | Path, text: str, where: str, accepted: str, todo: str) -> InvalidInput:
    """The error of a file with a class that the unpickler refuses, with advice on how to do without it."""
    match = re.search(r"GLOBAL ([\w.]+)", text)
    name = match[1] if match else ""
    what = f"it holds more than tensors and plain data{f', a {name}' if name else ''}, which could run as code"
    plain = _AS_PLAIN_DATA.get(name.rpartition(".")[2])
    if plain:
        todo = (
            f"Save its hyperparameters as plain data ({plain}), or the weights alone ({_WEIGHTS_ALONE}); "
            "a class that takes it whole is then made by a function of yours, package.module:make"
        )
    return InvalidInput(f"cannot read {path}: {what}", where=where, accepted=accepted, todo=todo)
