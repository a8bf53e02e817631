"""Networks out of the wrappers of training: for processes, devices, precision, compilation, averages of weights.

A wrapper changes how a network is run, and not what it computes; but its own forward talks to other processes, or cannot be
traced. So bounds are about the network inside.
"""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel

from lipreg.errors import UnsupportedModel

_AS_MODULE = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
"""The wrappers of torch, which keep the network as their ``module``."""
_BY_NAME = {"OptimizedModule": "_orig_mod", "_FabricModule": "_original_module", "DeepSpeedEngine": "module"}
"""The attribute in which other wrappers keep it, by the names of their classes, which need not be imported."""
_SHARDED = ("FullyShardedDataParallel", "FSDPModule")


def unwrap(module: nn.Module) -> nn.Module:
    """The network itself, out of any number of wrappers.

    These are ``DistributedDataParallel``, ``DataParallel``, what Fabric's ``setup`` and ``torch.compile`` return, and
    ``torch.optim.swa_utils.AveragedModel``, whose bounds are those of the averaged weights, its ``module``, not of the
    weights that are trained.

    Args:
        module: any module; one that wraps nothing is returned as it is.

    Raises:
        UnsupportedModel: fully sharded parameters, which are whole inside of a forward only.
    """
    while (inside := _inside(module)) is not None:
        module = inside
    return module


def _inside(module: nn.Module) -> nn.Module | None:
    if isinstance(module, _AS_MODULE):
        return module.module
    kinds = [kind.__name__ for kind in type(module).__mro__]
    for name, attribute in _BY_NAME.items():
        if name in kinds:
            return module._modules.get(attribute)
    if any(name in kinds for name in _SHARDED):
        raise UnsupportedModel(
            "its parameters are sharded: they are whole inside of forward only",
            where=type(module).__name__,
            accepted="a network with whole parameters, DistributedDataParallel among them",
        )
    return None
