"""Where a run and its twin cannot be compared in full: why, and what is known of the truth's movement all the same."""

from __future__ import annotations

from collections.abc import Iterable

from lipreg.errors import IncomparableResults
from lipreg.records import AuditRecord
from lipreg.transfer.points import TwinAudits, check_same_functional, how_to_audit
from lipreg.transfer.ratios import Interval, geometric_mean, ratio

_LISTED = 12
"""More epochs than these are not listed one by one."""


def truth_movement(audits: TwinAudits, epoch: int) -> tuple[Interval | None, int]:
    """E_reg / E_twin at one epoch, which needs no bound: the geometric mean over the points of both, and their number.

    Raises:
        IncomparableResults: a point has another functional in the twin, or the weights are of another kind.
    """
    mine, other = (audits.exact(name, epoch) for name in audits.runs)
    ratios: list[Interval] = []
    for point in sorted(mine.keys() & other.keys()):
        one, two = mine[point], other[point]
        check_same_functional(one, two)
        check_same_weights(one, two)
        found = ratio(Interval(one.lower, one.upper), Interval(two.lower, two.upper))
        ratios += [] if found is None else [found]
    return (geometric_mean(ratios) if ratios else None), len(ratios)


def check_same_weights(one: AuditRecord, two: AuditRecord) -> None:
    """Raises IncomparableResults if one audit is of weights in training and the other of what a training left."""
    if one.weights != two.weights:
        raise IncomparableResults(
            f"{one.weights} weights of {one.run!r}, {two.weights} ones of {two.run!r}",
            where="compare",
            accepted="two trainings that leave the same kind of weights",
        )


def why_not_compared(audits: TwinAudits, epoch: int | None = None, untrained: bool = True) -> tuple[str, str]:
    """What is missing where nothing can be compared, and what adds it.

    Args:
        audits: of both runs.
        epoch: the one at which they are to be compared; None for any.
        untrained: whether a comparison of the untrained networks counts.
    """
    mine, twin = audits.runs
    own, other = audits.epochs(mine), audits.epochs(twin)
    if not other:
        return (
            f"nothing of {twin!r} was audited",
            f"Audit {twin!r} at the same reference points, or read its records too",
        )
    common = set(own) & set(other) & ({epoch} if epoch is not None else set(own))
    both = sorted(at for at in common if at or untrained)
    if not both:
        told = "; ".join(f"{name!r} was audited after {listed_epochs(audits.epochs(name))}" for name in audits.runs)
        which = "only the untrained networks were" if common else "no epoch was"
        return f"{which} audited in both: {told}", "Audit both after the same epochs"
    for name in audits.runs:
        if not any(audits.exact(name, at) for at in both):
            return f"{name!r} has no 'exact' record", "Let its audits end"
        if not any(audits.points(name, at) for at in both):
            recipe = audits.regularised.recipe or {"estimator": audits.bound_name}
            lacks = f"{name!r} was not audited with the penalised bound, {audits.bound_name}"
            return lacks, f"Audit it with {how_to_audit(recipe)}"
    return "no point has the penalised bound and 'exact' in both", "Audit both at the same reference points"


def listed_epochs(epochs: Iterable[int]) -> str:
    """Epochs in ascending order, for a message: "epoch 2", "epochs 0, 2"; of many the first and the last."""
    words = [str(epoch) for epoch in sorted(epochs)]
    listed = ", ".join(words if len(words) <= _LISTED else [*words[:3], "...", *words[-2:]])
    return f"epoch{'s' * (len(words) > 1)} {listed}" if words else "no epoch"
