"""Chains of linear layers and ReLUs, recognised in a trace: what closed forms can be written down for."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.capture import CapturedNetwork

_RELUS = (torch.relu, F.relu, "relu")
_NEUTRAL = (nn.Dropout, nn.Identity)


@dataclass(frozen=True)
class DenseChain:
    """x -> W_K relu(... relu(W_1 x + b_1) ...) + b_K, the parameters themselves, not copies of them.

    Attributes:
        linears: the layers, in order.
        places: where the modules that the trace passes stand, ``(parent's modules, name, module)``, so that a replaced
            one is noticed.
        memory: what ``magnitude`` writes to.
    """

    linears: tuple[nn.Linear, ...]
    places: tuple[tuple[dict[str, nn.Module | None], str, nn.Module], ...]
    memory: dict[int, Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def weights(self) -> list[Tensor]:
        """W_k, ``(out, in)`` each."""
        return [linear.weight for linear in self.linears]

    @property
    def biases(self) -> list[Tensor | None]:
        """b_k, ``(out,)`` each; None without."""
        return [linear.bias for linear in self.linears]

    def magnitude(self, k: int) -> Tensor:
        """|W_k| without gradient, in memory that the next call for k writes over: fresh memory costs more than this."""
        weight, memory = self.linears[k].weight.detach(), self.memory.get(k)
        if memory is None or (memory.shape, memory.dtype, memory.device) != (weight.shape, weight.dtype, weight.device):
            memory = self.memory[k] = torch.empty_like(weight)
        return torch.abs(weight, out=memory)

    def is_current(self) -> bool:
        """Whether the module still has the same submodules, with parameters of their own, in one arithmetic."""
        if any(modules.get(name) is not module for modules, name, module in self.places):
            return False
        dtype = self.linears[0].weight.dtype
        return all(_plain(linear) and linear.weight.dtype == dtype for linear in self.linears)


def dense_chain(captured: CapturedNetwork) -> DenseChain | None:
    """The network as a chain of ``nn.Linear`` and ReLU, with neutral layers between; None when it is another."""
    linears: list[nn.Linear] = []
    places: list[tuple[dict[str, nn.Module | None], str, nn.Module]] = []
    before: torch.fx.Node | None = None
    open_linear, flat = False, len(captured.input_shape) == 1
    for node in captured.trace.nodes:
        if node.op == "placeholder" and before is None:
            before = node
            continue
        if node.op == "placeholder" or node.op == "output":
            if node.op == "output" and node.args[0] is before:
                break
            return None
        if before is None or node.args[:1] != (before,) or any(isinstance(a, torch.fx.Node) for a in node.args[1:]):
            return None
        before = node
        if node.op != "call_module":
            if node.target not in _RELUS or not open_linear:
                return None
            open_linear = False
            continue
        module = captured.module.get_submodule(str(node.target))
        parent = captured.module
        for name in str(node.target).split("."):
            places.append((parent._modules, name, parent.get_submodule(name)))
            parent = parent.get_submodule(name)
        match module:
            case nn.Linear() if type(module) is nn.Linear and flat and not open_linear:
                linears.append(module)
                open_linear = True
            case nn.ReLU() if type(module) is nn.ReLU and open_linear:
                open_linear = False
            case nn.Flatten(start_dim=1, end_dim=-1) if not linears:
                flat = True
            case _ if type(module) in _NEUTRAL:
                pass
            case _:
                return None
    found = DenseChain(tuple(linears), tuple(places))
    return found if linears and open_linear and found.is_current() else None


def _plain(linear: nn.Linear) -> bool:
    """Whether weight and bias are parameters: those that a hook or a pruning mask computes are read by lowering."""
    parameters = linear._parameters
    return parameters.get("weight") is not None and "bias" in parameters
