"""What each penalty does at equal accuracy: python -m experiments.penalties

Trains and compares every seed of conf/penalties.yaml that is not in the result file yet, and writes the tables of README
and docs/choosing.md.

python -m experiments.penalties processes=4
python -m experiments.penalties seeds=[0] results=runs/penalties/one_seed.jsonl
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.choices import check_like
from experiments.penalties.course import run_seed
from experiments.penalties.table import auto_table, fill, table
from experiments.programs import progress_bar, said, start
from experiments.result_file import ResultFile, Row

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results" / "penalties.jsonl"
PAGES = (ROOT / "README.md", ROOT / "docs" / "choosing.md")
PRICES = ROOT / "benchmarks" / "results" / "penalty.json"
DECIDING = ("epochs", "selection", "calibration", "audited", "weights", "auto", "overrides")


def run(cfg: DictConfig, console: Console) -> list[Row]:
    """Does what the result file has not; all rows.

    Raises:
        InvalidInput: the file holds the results of other settings.
    """
    file = ResultFile(cfg.results, {key: OmegaConf.to_container(cfg)[key] for key in DECIDING})  # type: ignore[index,call-overload]
    left = [seed for seed in cfg.seeds if not any(row["seed"] == seed for row in file.rows)]
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork well
    with (
        progress_bar(console, "seeds") as bar,
        ProcessPoolExecutor(max(1, min(cfg.processes, len(left))), context) as pool,
    ):
        task = bar.add_task("", total=len(cfg.seeds), completed=len(cfg.seeds) - len(left), state="")
        for done in as_completed([pool.submit(run_seed, cfg, seed) for seed in left]):
            rows = done.result()
            file.append([{**row, "last": i == len(rows) - 1} for i, row in enumerate(rows)])
            bar.update(task, advance=1, state=f"seed {rows[0]['seed']}")
    return file.rows


@hydra.main(config_path="../../conf", config_name="penalties", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 when the settings are wrong, 130 after a Ctrl-C."""
    console = Console()
    with said(console, "Interrupted. Finished seeds are kept; the same command goes on from there."):
        check_like(cfg, "penalties")
        rows = run(cfg, console)
        made = {
            "penalties": table(rows, json.loads(PRICES.read_text(encoding="utf-8"))["rows"]),
            "auto": auto_table(rows),
        }
        for text in made.values():
            console.print(text, highlight=False, soft_wrap=True)
        console.print(f"results: {cfg.results}", highlight=False, soft_wrap=True)
        if Path(cfg.results).resolve() == RESULTS:
            for page in PAGES:
                page.write_text(fill(page.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    start(main, "penalties")
