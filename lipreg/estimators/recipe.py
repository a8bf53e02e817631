"""Bound: the recipe of a bound as one value object; two numbers are of one bound only if their recipes are equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lipreg.arguments import form_to_write
from lipreg.bounds import METHODS, OPTIONAL_METHODS, ROW_MEMORY
from lipreg.errors import InvalidInput
from lipreg.estimators.base import ESTIMATORS
from lipreg.estimators.naming import ALL, recipe_name
from lipreg.estimators.norm_equivalence import get_estimator
from lipreg.estimators.own_norms import IN_NORM
from lipreg.numbers import whole_number
from lipreg.runs import certified_description
from lipreg.spelling import unknown

SpectralNorms = Literal["estimate", "exact"]


@dataclass(frozen=True)
class Bound:
    """The recipe of a bound: the estimator, and everything that decides its value beside question and network.

    ``Bound("affine_relu")`` and the name ``"affine_relu"`` are the same recipe wherever one can be given: to
    ``LipschitzPenalty``, ``LipschitzRegularizer``, ``estimate``, ``certify``, ``LipschitzAudit`` and ``AuditPlan``.
    Recipes travel with the numbers into records; figures of different recipes are not compared.

    Args:
        estimator: a registered name; ``"name@l2"`` for the method in l2 and a question in other norms.
        preactivations: some of "ball", "interval", "crown", "alpha", whose bounds are intersected; or "all", which are the
            first three. "alpha" is CROWN with its lower lines chosen for each bound by ascent: fifty times its time, and
            tighter from the second layer of ReLUs on. None takes the estimator's own: ``("interval",)`` for bounds that can
            be a penalty, which must be cheap at every step, "all" for the others.
        spectral_norms: for p = 2, how layers are measured where a differentiable tensor is asked for, by a penalty or
            ``estimate``: "estimate", by power iteration, which lies a little below the norm, or "exact", by
            decompositions. Where a certificate is asked for, by ``certify`` or an audit, norms are always proved.
        memory: bytes that linear forms may take at one node where a differentiable tensor is asked for: the rows of CROWN
            and of ``jacobian_crown``, of all points together, which are kept for the gradient. A node that needs more keeps
            interval bounds. Where a certificate is asked for they are done in parts, and the budget is the limit.

    Attributes:
        label: the estimator's name, with methods that are not its own behind it ("affine_relu-ball-interval"); the name
            of the recipe in logs and records, by which those of an audit differ.

    Raises:
        InvalidInput: an unknown estimator, or an argument that is none of these.
    """

    estimator: str
    preactivations: Sequence[str] | str = None  # type: ignore[assignment]  # None: the estimator's own, resolved below
    spectral_norms: SpectralNorms = "estimate"
    memory: int = ROW_MEMORY
    label: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        default = get_estimator(self.estimator).preactivations
        methods = default if self.preactivations is None else self.preactivations
        if methods != ALL:
            accepted = f'"{ALL}", or a list of some of {", ".join((*METHODS, *OPTIONAL_METHODS))}'
            known = {*METHODS, *OPTIONAL_METHODS}
            if not isinstance(methods, Sequence) or isinstance(methods, str) or not methods or set(methods) - known:
                todo = 'Write preactivations=["ball", "interval"], say'
                raise InvalidInput(f"preactivations={methods!r}", where="Bound", accepted=accepted, todo=todo)
            methods = tuple(method for method in (*METHODS, *OPTIONAL_METHODS) if method in methods)
        object.__setattr__(self, "preactivations", methods)
        object.__setattr__(self, "label", recipe_name(self.estimator, methods, default))
        if self.spectral_norms not in ("estimate", "exact"):
            raise InvalidInput(
                f"spectral_norms={self.spectral_norms!r}", where="Bound", accepted='"estimate" or "exact"'
            )
        memory = whole_number(self.memory)
        if memory is None or memory < 0:
            accepted = "a whole number of bytes of at least 0, such as 2**33 or 1e9"
            raise InvalidInput(f"memory={self.memory!r}", where="Bound", accepted=accepted)
        object.__setattr__(self, "memory", memory)

    def __str__(self) -> str:
        return self.label

    @classmethod
    def of(
        cls, bound: Bound | str | Mapping[str, Any], where: str = "bound", among: Iterable[str] | None = None
    ) -> Bound:
        """The recipe that a user means by a name, by a recipe, or by a mapping of its fields.

        Args:
            bound: the user's value.
            where: the place's name in messages.
            among: the names that messages list; None lists all estimators.

        Raises:
            InvalidInput: anything else, or an unknown name.
        """
        if isinstance(bound, cls):
            return bound
        name = bound.get("estimator") if isinstance(bound, Mapping) else bound
        if among is not None and isinstance(name, str) and not ESTIMATORS.has(name.partition(IN_NORM)[0]):
            raise unknown(name, where, among, ESTIMATORS.home)
        if isinstance(bound, Mapping) and "estimator" in bound:
            try:
                return cls(**bound)
            except TypeError as error:
                raise InvalidInput(f"{dict(bound)!r}: {error}", where=where, accepted="the fields of Bound") from None
        if not isinstance(bound, str):
            todo = form_to_write(
                bound, cls, where.rpartition(".")[2], 'Bound("affine_relu")', "from lipreg import Bound"
            )
            raise InvalidInput(f"{bound!r}", where=where, accepted="an estimator's name or a Bound", todo=todo)
        return cls(bound)

    @property
    def methods(self) -> tuple[str, ...] | None:
        """Pre-activation methods as ``lipreg.bounds.analyse`` takes them; None for all."""
        return None if self.preactivations == ALL else tuple(self.preactivations)

    @property
    def certified(self) -> Bound:
        """The recipe with proved norms, which an audit evaluates, whatever training measured with."""
        return Bound(**certified_description(self.describe()))

    def describe(self) -> dict[str, Any]:
        """The recipe as plain JSON data; equal descriptions mean comparable bounds."""
        methods = ALL if self.preactivations == ALL else list(self.preactivations)
        description = {"estimator": self.estimator, "preactivations": methods, "spectral_norms": self.spectral_norms}
        return description if self.memory == ROW_MEMORY else {**description, "memory": self.memory}
