"""The study of regularisers: python -m experiments.regularizers

Trains and audits every job of conf/study.yaml that is not in the result file yet, and shows how many are left.

python -m experiments.regularizers processes=4
python -m experiments.regularizers seeds=[0] datasets=[digits] results=runs/study/one_seed.jsonl
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig
from rich.console import Console

from experiments.choices import check_like
from experiments.programs import said, start
from experiments.regularizers.study import run_study


@hydra.main(config_path="../../conf", config_name="study", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Exit code 1 when a job failed or the settings are wrong, 130 after a Ctrl-C."""
    console = Console()
    with said(console, "Interrupted. Finished runs are kept; the same command goes on from there."):
        check_like(cfg, "study")
        failed = run_study(cfg, console)
    if failed:
        console.print(f"{len(failed)} runs failed; the same command tries them again.", highlight=False)
        raise SystemExit(1)
    console.print(f"results: {cfg.results}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    start(main)
