"""What the design expected, and what became of it, by its own rule for claims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.exact_study.designs import EARLY, PENALTIES
from experiments.exact_study.reading import Reading

_MISSING = "Not answered: not every penalty that it is about has all seeds."
_GRADIENTS = ("jacobian", "jacobian_frobenius", "gradient", "pgd")


def verdicts(read: Sequence[Reading]) -> list[str]:
    """A sentence for each expectation, in the order of the design.

    Args:
        read: of the small radius and of the large one.
    """
    small, large = read[0], read[-1]
    return [_lowest(small), _certifies(large), _passes_on(small), _dominates(large), _beats_stopping(small)]


def _lowest(read: Reading) -> str:
    ours = [name for name in ("jacobian", "jacobian_frobenius") if name in read.names]
    if len(ours) < 2:
        return _MISSING
    others = [name for name in read.names if name not in ours]
    below = [name for name in others if all(read.apart(name, own, "calibrated") == -1 for own in ours)]
    if below:
        return f"Refuted: lower than both are {_listed(below)}."
    above = [n for n in others if any(read.apart(own, n, "calibrated") == -1 for own in ours)]
    return f"Not refuted: lower than {_listed(above)}; not told apart from {_listed(set(others) - set(above))}."


def _certifies(read: Reading) -> str:
    if not {"fastlip", *_GRADIENTS} <= set(read.names):
        return _MISSING
    signs = {name: read.apart("fastlip", name, "closest") for name in _GRADIENTS}
    return _told(signs, "`fastlip` certifies more than")


def _passes_on(read: Reading) -> str:
    products = [name for name in ("spectral", "affine_relu") if name in read.names]
    if "fastlip" not in read.names or len(products) < 2:
        return _MISSING
    signs = {name: read.apart("fastlip", name, "calibrated transfer") for name in products}
    return _told(signs, "`fastlip` passes on more than")


def _dominates(read: Reading) -> str:
    if not set(PENALTIES) <= set(read.names):
        return _MISSING

    def dominates(name: str) -> bool:
        others = [other for other in read.names if other != name]
        lower = all(read.apart(name, other, "calibrated") == -1 for other in others)
        return lower and all(read.apart(name, other, "exact") == 1 for other in others)

    def beaten(name: str) -> bool:
        others = [other for other in read.names if other != name]
        lower = any(read.apart(other, name, "calibrated") == -1 for other in others)
        return lower or any(read.apart(other, name, "exact") == 1 for other in others)

    best = [name for name in read.names if dominates(name)]
    unbeaten = [name for name in read.names if not beaten(name)]
    lowest = read.names[int(np.argmin(read.mean("calibrated")))]
    highest = [read.names[int(np.argmax(read.mean(figure)))] for figure in ("exact", "closest")]
    means = f" By means alone `{lowest}` is lowest, `{highest[0]}` certifies most by the exact constant, "
    means += f"`{highest[1]}` by `jacobian_crown`."
    if best:
        return f"Refuted: {_listed(best)} dominates every other one." + means
    if unbeaten:
        return (
            f"Not refuted: none dominates every other one, but none is told apart as better than {_listed(unbeaten)}."
            + means
        )
    return "Stands: none dominates every other one, and each is beaten in one of the two." + means


def _beats_stopping(read: Reading) -> str:
    if EARLY not in read.names:
        return _MISSING
    signs = {n: read.apart(n, EARLY, "margin") for n in read.names if n not in (EARLY, "weight_decay")}
    return _told(signs, "Higher than early stopping are")


def _told(signs: dict[str, int], claim: str) -> str:
    """A claim about each of some: whom it holds for, whom not, and of whom nothing can be said."""
    of = {sign: [name for name, own in signs.items() if own == sign] for sign in (1, -1, 0)}
    parts = [f"{claim} {_listed(of[1])}"] if of[1] else []
    parts += [f"the opposite holds for {_listed(of[-1])}"] if of[-1] else []
    parts += [f"not told apart: {_listed(of[0])}"] if of[0] else []
    return f"{'Refuted' if of[-1] else 'Not refuted' if of[0] else 'Stands'}: {'; '.join(parts)}."


def _listed(names: object) -> str:
    found = sorted(f"`{name}`" for name in names)  # type: ignore[attr-defined]
    return ", ".join(found) if found else "none"
