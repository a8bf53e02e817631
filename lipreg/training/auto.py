"""weight="auto": a weight in proportion to the loss's own gradient, computed once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput
from lipreg.options import check_number

HIGH = 30.0
"""A weight computed above it is warned of."""

Total = Callable[[Tensor], Tensor]
"""A tensor of each process -> its sum over all of them."""


_UNSETTLED = 0.1
"""The share of the first running statistics that may remain: 22 batches of torch's momentum."""


@dataclass(frozen=True)
class Auto:
    """The weight with which the penalty pulls a stated fraction as hard as the loss does where training begins.

    It is fraction * min over matrices W of |d loss / d W| / |d penalty / d W| at the first evaluated batch with a
    schedule's factor above 0: in the matrix where it counts most, the penalty's gradient is ``fraction`` times as long
    as the loss's, in the others shorter. (Over all parameters together the quotient can be a thousand times larger in
    deep networks whose outputs do not depend on the input yet, where it is the last bias that the loss moves; they would
    never learn.) With batch norm in training mode it is the first batch at which the running statistics are ``settled``.
    The weight stays as computed. With several processes lengths are summed over those that have points, and
    all take the same weight.

    Args:
        fraction: > 0; what it does on the digits is in docs/choosing.md. It is made for bounds and norms, and not meant for
            squares, ``jacobian_frobenius`` and ``gradient``, whose gradients are short at the start and long later: the
            deeper the network, the more so. These want about 0.003, or better a number as the weight. A computed weight
            above ``HIGH`` is warned of.
    """

    fraction: float = 0.2

    def __post_init__(self) -> None:
        check_number(self.fraction, "fraction", "weight 'auto'", above=0.0)

    @classmethod
    def of(cls, weight: float | str | Auto | Mapping[str, Any], where: str) -> tuple[float, Auto | None]:
        """The weight that a user means: a number and None; or 0 until it is computed, and the ``Auto`` that computes it.

        Raises:
            InvalidInput: neither a number of at least 0, "auto", an ``Auto``, nor its fields as plain data.
        """
        if isinstance(weight, cls):
            return 0.0, weight
        if weight == "auto":
            return 0.0, cls()
        if isinstance(weight, Mapping) and set(weight) == {"fraction"}:
            return 0.0, cls(**weight)
        if not isinstance(weight, int | float):
            accepted = 'a finite number of at least 0, "auto", or Auto(fraction=...)'
            raise InvalidInput(f"weight={weight!r}", where=where, accepted=accepted)
        check_number(weight, "weight", where, low=0.0)
        return float(weight), None  # type: ignore[arg-type]

    def weight(self, loss: Tensor | None, penalty: Tensor | None, network: nn.Module, total: Total) -> float | None:
        """The weight; None where no process has a gradient of both, so that a later batch decides.

        All processes call it at the same batch.

        Args:
            loss: the batch's own loss, a scalar, which keeps its graph; None in a process without points.
            penalty: the batch's penalty without a weight, a scalar; None in a process without points.
            network: the module; the gradients are with respect to its trained parameters.
            total: the sum over the processes.
        """
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.dim() >= 2] or trained
        sizes = torch.zeros(2, len(matrices), device=matrices[0].device if matrices else None)
        if penalty is not None and loss is not None:
            lengths = torch.stack([_lengths(loss, matrices), _lengths(penalty, matrices)])
            if bool(torch.isfinite(lengths).all()):
                sizes = lengths.to(sizes)
        of_loss, of_penalty = total(sizes)
        pulled = (of_loss > 0) & (of_penalty > 0)
        if not bool(pulled.any()):
            return None
        weight = self.fraction * float((of_loss[pulled] / of_penalty[pulled]).min())
        if weight > HIGH and not _beside_another():
            warnings.warn(
                f'weight="auto" was found to be {weight:.3g}: the penalty hardly has a gradient where training begins. '
                "Where that grows in training, as that of squares does, such a weight is far too large, and the network "
                f"learns nothing. Take a smaller Auto(fraction=...), now {self.fraction:g}, or a number as the weight",
                stacklevel=4,
            )
        return weight


def settled(network: nn.Module) -> bool:
    """Whether the running statistics of every batch norm in training mode have forgotten what they started from.

    They start as 0 and 1, so the function at evaluation is another one at first than the function that is trained, by
    orders of magnitude in its gradients: with a momentum m, a share (1 - m)^n of that remains after n batches.
    """
    for module in network.modules():
        # lazy and synchronised ones are of the same base; one without a count never had running statistics
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.momentum is not None:
            count = module.num_batches_tracked
            if count is not None and (1 - module.momentum) ** int(count) > _UNSETTLED:
                return False
    return True


def over_processes(tensor: Tensor) -> Tensor:
    """The sum over the processes of ``torch.distributed``, in place; the tensor itself where there is one process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(tensor)
    return tensor


def _beside_another() -> bool:
    """Whether another process, the first, gives the warnings of this one."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return distributed and torch.distributed.get_rank() > 0


def missing_loss(where: str) -> InvalidInput:
    """The refusal of a first term without the loss that it is to be weighed against."""
    return InvalidInput(
        'weight="auto" without the loss at the first batch',
        where=where,
        accepted="the batch's own loss, by which the weight is found once",
        todo="Write loss = loss + penalty(x, y, loss=loss), or give weight a number",
    )


def _lengths(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """|d value / d W|_2 for each parameter W, the graph kept."""
    none = torch.zeros((), device=value.device)
    if not value.requires_grad:
        return none.expand(len(parameters))
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.stack([none if g is None else _length(g.float()) for g in gradients])


def _length(g: Tensor) -> Tensor:
    """|g|_2, also where squares overflow: bounds of deep networks reach 1e21."""
    largest = g.abs().amax().clamp(min=torch.finfo(g.dtype).tiny) if g.numel() else g.new_ones(())
    return largest * (g / largest).norm()
