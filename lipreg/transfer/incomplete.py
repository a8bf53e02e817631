"""Why a run and its twin cannot be compared, and which audits are missing."""

from __future__ import annotations

from collections.abc import Iterable

from lipreg.transfer.pairs import Pair
from lipreg.transfer.points import how_to_audit

_LISTED = 12
"""The number of epochs above which a message does not list them one by one."""


def why_not_compared(pair: Pair, epoch: int | None = None, untrained: bool = True) -> tuple[str, str]:
    """What is missing where nothing can be compared, and what adds it.

    Args:
        pair: both runs.
        epoch: the one at which they are to be compared; None for any.
        untrained: whether a comparison of the untrained networks counts.

    Returns:
        The reason, without a full stop, and what to do about it.
    """
    mine, twin = pair.sides
    if not twin.audits:
        adds = f"Audit {twin.name!r} at the same reference points, or read its records too"
        return f"nothing of {twin.name!r} was audited", adds
    common = [at for at in mine.audits if at in twin.audits and epoch in (None, at)]
    both = [at for at in common if at or untrained]
    if not both:
        audited = "; ".join(f"{side.name!r} was audited after {listed_epochs(side.audits)}" for side in pair.sides)
        which = "only the untrained networks were" if common else "no epoch was"
        return f"{which} audited in both: {audited}", "Audit both after the same epochs"
    for side in pair.sides:
        if not any(side.combined(at) for at in both):
            return f"{side.name!r} has no 'combined' record", "Let its audits end"
        if not any(side.points[at] for at in both):
            recipe = mine.run.record.recipe or {"estimator": mine.bound}
            lacks = f"{side.name!r} was not audited with the penalised bound, {mine.bound}"
            return lacks, f"Audit it with {how_to_audit(recipe)}"
    return "no point has the penalised bound and 'combined' in both", "Audit both at the same reference points"


def listed_epochs(epochs: Iterable[int]) -> str:
    """Epochs in ascending order, for a message: "epoch 2", "epochs 0, 2"; of many the first and the last."""
    words = [str(epoch) for epoch in sorted(epochs)]
    listed = ", ".join(words if len(words) <= _LISTED else [*words[:3], "...", *words[-2:]])
    return f"epoch{'s' * (len(words) > 1)} {listed}" if words else "no epoch"
