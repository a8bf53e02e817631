"""Audits: what several estimators prove together at reference points, under a budget, in one process or in several."""

from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import EXACT, PointAudit
from lipreg.auditing.random_state import untouched_random_state
from lipreg.auditing.run import Progress, audit
from lipreg.auditing.workers import Workers, count_workers

__all__ = [
    "EXACT",
    "AuditPlan",
    "PointAudit",
    "Progress",
    "Workers",
    "audit",
    "count_workers",
    "untouched_random_state",
]
