"""A solver as somebody else writes one: its module registers it, and nothing but an import makes it known."""

from __future__ import annotations

from lipreg.budget import Budget
from lipreg.milp import Found, Highs, Options, Program, register_solver


@register_solver("somebodys")
class Somebodys(Highs):
    def version(self) -> str:
        return "Somebody's HiGHS"

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        return Highs().run(program, budget, options)
