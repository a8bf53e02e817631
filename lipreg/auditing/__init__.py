"""Audits: what several estimators prove together at reference points, under a budget, in one process or in many."""

from lipreg.auditing.attack import Attack
from lipreg.auditing.executors import EXECUTORS, Executing, Executor, Inline, get_executor, register_executor
from lipreg.auditing.plan import AuditPlan
from lipreg.auditing.points import COMBINED, PointAudit
from lipreg.auditing.processes import Processes
from lipreg.auditing.ray import Ray
from lipreg.auditing.run import AuditProgress, audit

__all__ = [
    "COMBINED",
    "EXECUTORS",
    "Attack",
    "AuditPlan",
    "AuditProgress",
    "Executing",
    "Executor",
    "Inline",
    "PointAudit",
    "Processes",
    "Ray",
    "audit",
    "get_executor",
    "register_executor",
]
