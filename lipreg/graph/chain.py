"""Chains of affine layers and ReLUs, without branches: the networks that closed forms are written down for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.capture import CapturedNetwork
from lipreg.graph.layers import DenseLayer, Layer, layer_of
from lipreg.graph.network import Graph

_RELUS = (torch.relu, F.relu, "relu")
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d)
_NEUTRAL = (nn.Dropout, nn.Identity, nn.Flatten)
_RESHAPES = (torch.flatten, "flatten", "reshape", "view", "size")


@dataclass(frozen=True)
class ReluChain:
    """x -> W_K relu(... relu(W_1 x + b_1) ...) + b_K, each W_k a matrix or a convolution, the last a matrix.

    Attributes:
        layers: in order.
        modules: where weights and biases are the parameters themselves, the modules that hold them, in order.
        places: where the modules of the trace stand, ``(modules of the parent, name, module)``, so that a replaced one is
            noticed.
    """

    layers: tuple[Layer, ...]
    modules: tuple[nn.Module, ...] = ()
    places: tuple[tuple[dict[str, nn.Module | None], str, nn.Module], ...] = ()

    @cached_property
    def weights(self) -> list[Tensor]:
        """The tensors that the W_k are made of."""
        return [layer.weight for layer in self.layers]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first layer's weights, which ``is_current`` demands of all."""
        return self.layers[0].weight.dtype

    def is_current(self) -> bool:
        """Whether the module still has the same submodules, with these parameters, in one arithmetic."""
        if any(modules.get(name) is not module for modules, name, module in self.places):
            return False
        dtype = self.dtype
        for layer, module in zip(self.layers, self.modules, strict=True):
            # parameters of weights that a hook or a pruning mask computes have other names
            own = module._parameters
            if own.get("weight") is not layer.weight or own.get("bias", layer) is not layer.bias:
                return False
            if layer.weight.dtype != dtype:
                return False
        return True


def chain_of(graph: Graph) -> ReluChain | None:
    """A graph as a chain; None where it branches, pools, ends in no matrix, or has other maps, leaky ReLUs or curves."""
    if graph.branches or graph.pools() or graph.curves() or any(node.slope for _, node in graph.relus()):
        return None
    layers: list[Layer] = []
    for _, node in graph.affines():
        layer = layer_of(node.maps[0], _by_channel(node.bias))
        if layer is None:
            return None
        layers.append(layer)
    return ReluChain(tuple(layers)) if isinstance(layers[-1], DenseLayer) else None


def fixed_chain(captured: CapturedNetwork) -> ReluChain | None:
    """The network as a chain over the parameters themselves, for use while ``is_current``; None where it is no such chain.

    It is one if it has linear and convolutional modules alone, with a ReLU between any two, beside layers that compute
    nothing. Where weights have to be computed first, as with batch norm, ``chain_of`` a live graph is the chain of one
    evaluation.
    """
    modules: list[nn.Module] = []
    places: list[tuple[dict[str, nn.Module | None], str, nn.Module]] = []
    for node in captured.trace.nodes:
        if node.op != "call_module":
            if node.op not in ("placeholder", "output") and node.target not in _RELUS + _RESHAPES:
                return None
            continue
        module = parent = captured.module
        for name in str(node.target).split("."):
            parent, module = module, module.get_submodule(name)
            places.append((parent._modules, name, module))
        if type(module) in _AFFINE:
            modules.append(module)
        elif type(module) not in (nn.ReLU, *_NEUTRAL):
            return None
    chain = chain_of(captured.live())
    if chain is None or len(chain.layers) != len(modules):
        return None
    for layer, module in zip(chain.layers, modules, strict=True):
        layer.bias = module._parameters.get("bias")
    fixed = ReluChain(chain.layers, tuple(modules), tuple(places))
    return fixed if fixed.is_current() else None


def _by_channel(bias: Tensor) -> Tensor:
    """One number a channel where the bias was expanded from such; else the bias as it is."""
    bias = bias.detach()
    expanded = bias.dim() > 1 and all(s == 0 or n == 1 for s, n in zip(bias.stride()[1:], bias.shape[1:], strict=True))
    return bias[(slice(None), *(0,) * (bias.dim() - 1))] if expanded else bias
