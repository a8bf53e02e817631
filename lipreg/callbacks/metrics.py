"""What an audit says in a few numbers: means over the reference points, under stable names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from lipreg.auditing import EXACT, PointAudit
from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, RunRecord, read_records
from lipreg.results import Certificate
from lipreg.transfer import compare


def summary(audits: Sequence[PointAudit], penalised: str | None = None, prefix: str = "audit") -> dict[str, float]:
    """Means over the reference points, under the names that are logged; ends that were not proved are left out.

    ``audit/exact_lower`` and ``audit/exact_upper`` bracket the mean true constant, and a search (``mip``) has both ends
    too; every other estimator has its mean upper end (``audit/lp``) or, for lower bounds, lower end (``audit/sampling``).
    ``audit/bound`` is the mean penalised bound, whatever its name; ``audit/tightness`` is that over the mean exact upper
    end (a lower bound on their ratio); ``audit/share_exact`` is the share of points at which both ends meet.
    """
    means: dict[str, float] = {}
    for name in audits[0].intervals:
        intervals = [a.intervals[name] for a in audits]
        lower = float(torch.tensor([i.lower for i in intervals], dtype=torch.float64).mean())
        upper = float(torch.tensor([i.upper for i in intervals], dtype=torch.float64).mean())
        if name == EXACT or audits[0].plan.method(name).certificate is Certificate.BRACKET:
            means |= {f"{prefix}/{name}_lower": lower, f"{prefix}/{name}_upper": upper}
        else:
            one_sided = lower if intervals[0].certificate is Certificate.LOWER else upper
            means[f"{prefix}/{name}"] = one_sided
    exact_upper = means[f"{prefix}/{EXACT}_upper"]
    if penalised is not None:
        means[f"{prefix}/bound"] = means[f"{prefix}/{penalised}"]
    if penalised is not None and exact_upper > 0:
        means[f"{prefix}/tightness"] = means[f"{prefix}/{penalised}"] / exact_upper
    means[f"{prefix}/share_exact"] = sum(a.exact.certificate is Certificate.EXACT for a in audits) / len(audits)
    return {name: value for name, value in means.items() if abs(value) != float("inf")}


def against_twin(
    records: Iterable[AuditRecord], run: str, twin: str, penalised: str | None, epoch: int, prefix: str = "audit"
) -> dict[str, float]:
    """Movement and transfer against the twin's audit at the same epoch (``lipreg.transfer``), under the logged names.

    ``audit/movement_lower`` and ``_upper`` bracket E_reg / E_twin, ``audit/transfer_lower`` and ``_upper`` the transfer;
    ``audit/transfer`` is the middle of these two, ``audit/bound_movement`` is B_reg / B_twin. What is undefined or without
    a finite end is left out; without a penalised bound, or where the twin has no audit to compare with, all of it.

    Raises:
        CrossingBounds: a bound lies below a witness.
    """
    if penalised is None:
        return {}
    # records of another network at the same epoch, of an earlier fit, would be refused: only this epoch counts
    audits = [r for r in records if r.epoch == epoch and r.run in (run, twin)]
    try:
        movement = compare([RunRecord(run, twin, bound=penalised), RunRecord(twin), *audits], run, epoch).movement
    except (InvalidInput, IncomparableResults):
        return {}
    found: dict[str, float] = {} if movement.bound is None else {f"{prefix}/bound_movement": movement.bound}
    for name, interval in (("movement", movement.exact), ("transfer", movement.transfer)):
        if interval is not None:
            found |= {f"{prefix}/{name}_lower": interval.lower, f"{prefix}/{name}_upper": interval.upper}
    if movement.transfer is not None:
        found[f"{prefix}/transfer"] = movement.transfer.midpoint
    return {name: value for name, value in found.items() if math.isfinite(value)}


def against_saved_twin(
    path: Path,
    run: str,
    twin: str,
    own: Iterable[AuditRecord],
    penalised: str | None,
    epoch: int,
    prefix: str = "audit",
) -> dict[str, float]:
    """``against_twin`` with the twin's audits read from a record file; nothing where there is no such file."""
    if not path.exists():
        return {}
    saved = [r for r in read_records(path) if isinstance(r, AuditRecord) and r.run == twin]
    return against_twin([*saved, *own], run, twin, penalised, epoch, prefix)
