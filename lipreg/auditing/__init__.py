"""Audits: what several estimators prove together at reference points, under a budget, in one process or in many."""

from lipreg.auditing.choice import EXECUTORS, choose_workers
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import EXACT, PointAudit
from lipreg.auditing.ray_workers import RayWorkers
from lipreg.auditing.run import Progress, audit
from lipreg.auditing.workers import Workers, count_workers

__all__ = [
    "EXACT",
    "EXECUTORS",
    "AuditPlan",
    "PointAudit",
    "Progress",
    "RayWorkers",
    "Workers",
    "audit",
    "choose_workers",
    "count_workers",
]
