"""Views of audit records: console tables, figures, the HTML report and W&B panels.

``report`` makes the page. Nothing else is imported here, because each view needs its own heavy library: import
``lipreg.reporting.tables``, ``frames``, ``figures`` or ``panels``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["report"]


def report(
    paths: str | Path | Iterable[str | Path],
    path: str | Path = "report.html",
    metric: str | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Writes the HTML report of all runs that have recorded at some places, each beside its twin.

        lipreg.reporting.report("lightning_logs")

    Args:
        paths: where the records are: a folder, below which every ``*.jsonl`` is read, a record file, or a list of both.
        path: the HTML file; its folder is made.
        metric: name of the logged metric to show; None takes that of each run's record, else what fits.
        on_progress: called as the work goes on: what is done, how much of it, of how much.

    Returns:
        The path of the file.

    Raises:
        InvalidInput: no such place, nothing there was audited, no run logged that metric, or a path that cannot be written.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    from lipreg.records import read_sources
    from lipreg.reporting.html import write_runs_report

    return write_runs_report(read_sources(paths, on_progress), path, metric, on_progress)
