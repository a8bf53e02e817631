"""Every registered quantity: what it says it is, with the gradient of its value."""

from __future__ import annotations

from typing import Any

import pytest

from lipreg.quantities import QUANTITIES
from lipreg.testing import check_quantity

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "bound": [{}, {"estimator": "fastlip"}],
    "jacobian_frobenius": [{"projections": 2}, {"projections": "exact"}],
    "pgd": [{"radius": 0.1, "steps": 2, "restarts": 2}],
}
"""What each is checked with; without options where nothing is said."""


@pytest.mark.parametrize("name, options", [(n, o) for n in QUANTITIES for o in OPTIONS.get(n, [{}])], ids=str)
def test_a_quantity(name: str, options: dict[str, Any]) -> None:
    check_quantity({"kind": name, **options})
