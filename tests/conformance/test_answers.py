"""The table of what can be answered: the page has it as it is, and every cell of it is so."""

from __future__ import annotations

import pytest
import torch

from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify
from lipreg.results import Certificate
from lipreg.testing import exact_constants
from tests import oracles
from tests.conformance.questions import EVERYTHING
from tests.sampling import one_in
from tools.answers import PAGE, Column, Row, cells, page, question

CELLS = cells()
ASKED = [cell for place, cell in enumerate(CELLS) if EVERYTHING or place % 3 == 0]
NAMES = [f"{p:g} to {q or 'scalar'}, {region}, {scope}".replace("`", "") for (p, q), (region, scope) in ASKED]


def test_the_page_has_the_table_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run python -m tools.answers"


@pytest.mark.parametrize("row, column", ASKED, ids=NAMES)
@one_in(3)
def test_every_cell_is_so(row: Row, column: Column) -> None:
    net, x = oracles.mlp(2, 3, 2).double(), torch.full((1, 2), 0.3, dtype=torch.float64)
    problem, kind = question(row, column), CELLS[row, column].kind
    if kind == "refused":
        with pytest.raises(UnsupportedRequest):
            certify(net, problem, x)
        return
    (found,) = certify(net, problem, x, budget=Budget(600.0))
    ((low, high),) = exact_constants(net, problem, x)
    assert found.certificate is Certificate.EXACT or (kind == "interval" and found.certificate is Certificate.BRACKET)
    assert found.lower <= high * (1 + 1e-9) + 1e-12 and low <= found.upper * (1 + 1e-9)
