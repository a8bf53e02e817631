"""Terms added to the loss that an unchanged LightningModule's training_step returns.

Only the returned loss is right under accumulation, gradient scaling and DDP alike: Lightning divides, scales and
backpropagates it once. So the step is wrapped, on the instance, for as long as a term is attached.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from lipreg.errors import UnsupportedRequest

Term = Callable[[Any, Tensor], Tensor | None]
"""(batch, the step's own loss) -> a scalar to add to the loss, or None for nothing."""

_STEP = "training_step"
_WRAPPED = "_lipreg_wrapped_step"
_SHARDING = ("FSDPStrategy", "ModelParallelStrategy")  # by name: looking for them must not import them


def add_to_loss(module: pl.LightningModule, term: Term) -> Callable[[], None]:
    """Adds ``term(batch, loss)`` to the loss of every ``training_step`` of this one instance.

    A loss may be a tensor or the "loss" of a dict, whose other entries stay. Without a loss (None) the term is not
    evaluated. Several terms share one wrapper, so that they can be taken off in any order.

    The wrapped module can be pickled and copied: a bound method is pickled by its name, so a loaded module has its
    plain step, and a deep copy, which carries the wrapper along, runs the plain step on itself.

    Args:
        module: the instance; its class is left alone.
        term: called after the step with the step's batch and its own loss.

    Returns:
        A function that takes the term off again; with the last one the instance is as it was before. Harmless when
        called twice.
    """
    current = module.__dict__.get(_STEP)
    wrapped = getattr(current, _WRAPPED, None)
    if wrapped is None or wrapped.method is not current:  # not ours, or a copy of ours: wrap what is there
        wrapped = _WrappedStep(module)
    wrapped.terms.append(term)
    return functools.partial(wrapped.take_off, term)


def check_loss_is_used(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Refuses trainings in which a term added to the returned loss would not act, or could not be computed.

    Raises:
        UnsupportedRequest: manual optimization, a step that takes ``dataloader_iter``, or sharded parameters.
    """
    where = type(module).__name__
    if not module.automatic_optimization:
        raise UnsupportedRequest(
            "manual optimization, which ignores the loss that training_step returns: the penalty would not act",
            where=where,
            accepted="automatic_optimization = True",
            todo="Or leave the callback out and call lipreg.LipschitzPenalty by hand: penalty = LipschitzPenalty(network, "
            "problem, weight=...) once, then self.manual_backward(loss + penalty(x, y)) at every step",
        )
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise UnsupportedRequest(
            "training_step takes dataloader_iter, so there is no batch to read inputs from",
            where=where,
            accepted="training_step(self, batch, batch_idx)",
        )
    strategy = trainer.strategy
    kinds = {kind.__name__ for kind in type(strategy).__mro__}
    stage_3 = "DeepSpeedStrategy" in kinds and bool(getattr(strategy, "zero_stage_3", False))
    if stage_3 or kinds & set(_SHARDING):
        raise UnsupportedRequest(
            f"{type(strategy).__name__}{' stage 3' if stage_3 else ''}: weights are whole inside of forward only",
            where="strategy",
            accepted='"auto", "ddp", or DeepSpeed stages 1 and 2',
        )


def warn_if_untrained(trainer: pl.Trainer, network: nn.Module) -> None:
    """Warns of a penalty on weights that no optimizer trains: those of an average, or of another module's frozen copy."""
    if "DeepSpeedStrategy" in {kind.__name__ for kind in type(trainer.strategy).__mro__}:
        return  # its optimizers hold partitions, not the parameters
    parameters = {id(parameter) for parameter in network.parameters()}
    trained = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
    if parameters and parameters.isdisjoint(trained):
        warnings.warn(
            f"the penalty is on {type(network).__name__}, none of whose parameters any optimizer has: it trains nothing. "
            "Name the network that is trained (module=...); an average of weights can be audited",
            stacklevel=3,
        )


class _WrappedStep:
    """One module's step, what it was before, and the terms added to it.

    Attributes:
        method: the wrapper, as it stands in the instance's ``__dict__``.
        terms: what is added, in this order.
    """

    def __init__(self, module: pl.LightningModule) -> None:
        self.module = module
        self.before = module.__dict__.get(_STEP)  # an instance attribute that somebody else had put there
        self.terms: list[Term] = []
        self.method = self._wrap(module.training_step)
        module.__dict__[_STEP] = self.method

    def _wrap(self, inner: Callable[..., Any]) -> MethodType:
        # a plain function bound by MethodType: Lightning inspects the code of the step, which a callable object lacks
        @functools.wraps(inner)
        def training_step(this: pl.LightningModule, *args: Any, **kwargs: Any) -> Any:
            if this is not self.module:
                return _bound_to(inner, this)(*args, **kwargs)
            output = inner(*args, **kwargs)
            for term in tuple(self.terms):
                output = _add(output, term, (*args, *kwargs.values())[0])
            return output

        training_step.__name__ = _STEP  # pickle finds a bound method by this name, whatever a decorator made of it
        # one level, as Lightning unwraps one: it then sees the parameters that it would see without us
        training_step.__wrapped__ = getattr(inner, "__wrapped__", inner)  # type: ignore[attr-defined]
        training_step.__dict__[_WRAPPED] = self
        return MethodType(training_step, self.module)

    def take_off(self, term: Term) -> None:
        """Takes a term off; the last one restores the instance, unless somebody has wrapped the wrapper since."""
        self.terms = [kept for kept in self.terms if kept is not term]
        if self.terms or self.module.__dict__.get(_STEP) is not self.method:
            return  # without terms a wrapper that stays behind changes nothing
        if self.before is None:
            del self.module.__dict__[_STEP]
        else:
            self.module.__dict__[_STEP] = self.before


def _bound_to(step: Callable[..., Any], module: pl.LightningModule) -> Callable[..., Any]:
    return MethodType(step.__func__, module) if inspect.ismethod(step) else step


def _add(output: Any, term: Term, batch: Any) -> Any:
    """The step's output with the term in its loss; outputs that Lightning will refuse are left for it to refuse."""
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if not isinstance(loss, Tensor):
        return output
    added = term(batch, loss)
    if added is None:
        return output
    return {**output, "loss": loss + added} if isinstance(output, Mapping) else loss + added
