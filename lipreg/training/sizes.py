"""Terms that would destroy a training: not finite, or far above the loss; and bounds that rounding spoils."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall, Region, WholeSpace

FAR_ABOVE = 10.0
"""A first term above so many times the loss is warned of."""
COARSE = 1e-3
"""A larger rounding, as a share of what the region moves a pre-activation by, is warned of."""

_GRADIENT = "The penalty does not overflow, a step of its gradient does, or divides by 0. Take another bound or penalty"


class FiniteTerms:
    """Refuses terms that are not finite, and at the first one gradients that are not.

    On a CPU every term is read at once. Elsewhere that would wait for the device, so all but the first are read when
    the next one is there.

    Args:
        region: of the question, which advice is about.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._first, self._pending = True, None

    def check(self, term: Tensor, network: nn.Module, where: str) -> None:
        """Checks a term that is about to be added to a loss.

        Args:
            term: the term, a scalar.
            network: the module; the gradients of the first term are with respect to its trained parameters.
            where: what error messages call the term.

        Raises:
            InvalidInput: it, its gradient, or the term before it is not finite.
        """
        first, self._first = self._first, False
        latest = term.detach()
        if first or latest.device.type == "cpu":
            pending, self._pending = latest, None
        else:
            pending, self._pending = self._pending, latest
        if pending is not None and not math.isfinite(value := float(pending)):
            _refuse(f"the penalty is {value}", network.parameters(), where, _overflow(self._region))
        trained = [p for p in network.parameters() if p.requires_grad] if first and term.requires_grad else []
        if trained:
            gradients = torch.autograd.grad(term, trained, retain_graph=True, allow_unused=True)
            if not all(g is None or bool(torch.isfinite(g).all()) for g in gradients):
                _refuse(f"the penalty is {float(latest):.3g}, its gradient not finite", trained, where, _GRADIENT)


def _refuse(what: str, parameters: Iterable[Tensor], where: str, todo: str) -> None:
    if not all(bool(torch.isfinite(p).all()) for p in parameters):
        raise InvalidInput(
            f"{what}, because parameters hold NaN or infinity", where=where, todo="Training may have diverged before"
        )
    raise InvalidInput(what, where=where, accepted="finite terms with finite gradients", todo=todo)


def _overflow(region: Region) -> str:
    """What is done about a bound that overflows; all of R^n has no smaller region, and no pre-activations to tighten."""
    ends = "" if isinstance(region, WholeSpace) else 'a smaller region, tighter preactivations ("crown"), '
    return (
        f'The bound overflows. Take {ends}a tighter bound, or module="..." for a part of the network; penalty="layer_sum" '
        "adds the factors of the layers up"
    )


def warn_of_first_term(term: Tensor, loss: Tensor, where: str) -> None:
    """Warns of a term that no weight is trained by, and of one of more than ``FAR_ABOVE`` times the loss it is added to.

    Args:
        term: the first term, after its weight, a scalar.
        loss: the loss that it is added to, a scalar.
        where: what the warning calls the penalty.
    """
    if not term.requires_grad:
        warnings.warn(
            f"{where}: nothing that is penalised is trained: the network as it is at evaluation reads no weight that "
            "requires a gradient, an average of weights say. Name the network that is trained (module=...)",
            stacklevel=2,
        )
    size, own = abs(float(term.detach())), abs(float(loss.detach()))
    if size > FAR_ABOVE * own:
        warnings.warn(
            f"{where}: the first penalty is {size:.3g} after its weight, the loss {own:.3g}: training will follow the "
            'penalty alone. Take a smaller weight, penalty="log", or schedule="linear" to warm up',
            stacklevel=2,
        )


def warn_if_coarse(problem: LocalLipschitz, x: Tensor, dtype: torch.dtype, where: str) -> None:
    """Warns of inputs so large beside their region that rounding in the bound's arithmetic is felt: eps |x| / radius.

    Args:
        problem: the question, whose region counts.
        x: reference points ``(batch, *shape)``.
        dtype: the number type of the bounds.
        where: what the warning calls the penalty.

    Raises:
        InvalidInput: a radius that the number type does not hold.
    """
    x, region = x.detach().to(dtype), problem.region
    if isinstance(region, LinfBall | L2Ball | L1Ball):
        largest, kind = torch.finfo(dtype).max, str(dtype).removeprefix("torch.")
        if region.radius > largest:
            todo = "Take a smaller radius, lipreg.WholeSpace(), or train in float64"
            got = f"radius={region.radius:g} with bounds in {kind}"
            raise InvalidInput(got, where=where, accepted=f"radii up to {largest:.3g}", todo=todo)
        radius = torch.full((len(x),), float(region.radius), dtype=dtype, device=x.device)
    else:
        placed = region.place(x)
        radius = torch.maximum(placed.up, -placed.down).flatten(1).amax(1)
    size = x.flatten(1).abs().amax(1)
    share, at = (torch.finfo(dtype).eps * size / radius).max(0)
    if float(share) > COARSE:
        kind = str(dtype).removeprefix("torch.")
        warnings.warn(
            f"{where}: inputs are as large as {float(size[at]):.3g} in a region that reaches {float(radius[at]):.3g}: "
            f"{kind} rounds pre-activations by about {float(share):.2g} of what the region moves them by. Bounds in "
            f"training may differ from certified ones by as much, or by more where that turns units on. Scale the inputs, "
            f"train in float64, or take a larger region",
            stacklevel=2,
        )
