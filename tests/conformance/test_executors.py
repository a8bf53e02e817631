"""Every executor does an audit's tasks as they are done in this process; Ray's, which needs a cluster, in tests/auditing."""

from __future__ import annotations

import pytest

from lipreg.auditing import Executing, Processes
from lipreg.testing import check_executor


@pytest.mark.parametrize("executor", ["inline", Processes(2)], ids=["inline", "processes"])
def test_an_executor(executor: Executing) -> None:
    check_executor(executor)
