"""One self-contained HTML page of all runs below a folder, each beside its twin; made from saved records alone.

python -m experiments.report runs=runs/2026-01-31/12-00-00
python -m experiments.report runs=runs/sweeps/2026-01-31_12-00-00 output=sweep.html
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.text import Text

from experiments.programs import said, start
from lipreg.command.progress import StageLine
from lipreg.records import read_sources
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.wording import counted
from lipreg.words import plain

NAMED = 10
"""So many of what is left out are told on the console."""


def report(cfg: DictConfig, console: Console) -> Path:
    """Writes the page and says where it is, and what could not be read."""
    runs = [str(path) for path in cfg.runs] if isinstance(cfg.runs, ListConfig) else [str(cfg.runs)]
    line = StageLine()
    sources = read_sources(runs, line.at)
    first = Path(runs[0])
    path = Path(cfg.output) if cfg.output else (first if first.is_dir() else first.parent) / "report.html"
    write_runs_report(sources, path, cfg.metric, line.at)
    line.end()
    records = counted(sum(len(source.records) for source in sources.files), "record")
    size = path.stat().st_size / 2**20
    of = counted(len(sources.files), "file")
    console.print(Text(f"{path}: {records} of {of}, {size:.2f} MiB"), soft_wrap=True)
    for name, reason in sources.left_out[:NAMED]:
        console.print(Text(f"left out: {plain(name)}: {plain(reason)}", style="yellow"), soft_wrap=True)
    if len(sources.left_out) > NAMED:
        more = f"left out: {len(sources.left_out) - NAMED} more, which the page names"
        console.print(Text(more, style="yellow"), soft_wrap=True)
    return path


@hydra.main(config_path="../conf", config_name="report", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 where there is nothing to show."""
    console = Console()
    with said(console):
        report(cfg, console)


if __name__ == "__main__":
    start(main, "report")
