"""An installation without extras: what README.md shows runs, and what needs an extra says which."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_docs import blocks
from tools.lock import closure

LEFT_OUT = ("sklearn", "rich", "pandas", "matplotlib", "PIL")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with all that pyproject.toml's dependencies reach, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (folder / "lipreg").symlink_to(ROOT / "lipreg")
    for name in ("lipreg", *closure(project["dependencies"])):
        installed = metadata.distribution(name)
        for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(str(installed.locate_file(top)))
    return folder


def run(site: Path, folder: Path, program: str) -> str:
    """What a program prints there. Python does not look into its own folder of packages (-S)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WANDB"))}
    quiet = {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=folder,
        env={**environment, **quiet, "WANDB_DIR": str(folder), "WANDB_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


TRAINING, REPORT, *PLAIN = blocks("README.md")
IMPORT = "from lipreg.data import DigitsDataModule"
DATA = """
import torch
from torch.utils.data import DataLoader, TensorDataset

class DigitsDataModule(pl.LightningDataModule):
    def train_dataloader(self):
        y = torch.arange(96) % 10
        x = torch.rand(10, 64, generator=torch.Generator().manual_seed(0)).round()[y]  # black and white, one of a class
        return DataLoader(TensorDataset(x, y), batch_size=32)

    val_dataloader = train_dataloader
"""


EXTRAS = f"import importlib.util as u\nprint([name for name in {LEFT_OUT} if u.find_spec(name)])\n"
VIEWS = """
from lipreg.records import AuditRecord
from lipreg.reporting.frames import audit_frame
from lipreg.reporting.tables import comparison_table

def figures():
    import lipreg.reporting.figures

def digits():
    from lipreg.data import DigitsDataModule

    DigitsDataModule().setup()

for view in (figures, lambda: audit_frame([]), lambda: comparison_table(None), digits):
    try:
        view()
    except ImportError as error:
        print(error)
"""
WANDB = """
from pytorch_lightning.loggers import CSVLogger, WandbLogger
loggers = [CSVLogger("."), WandbLogger(offline=True, save_dir=".")]
"""


@pytest.fixture(scope="module")
def ran(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What the views, README.md's code without Lightning and its training for one epoch, which logs to W&B too, with its
    report leave and print.

    In one process, as most of the time is what is imported; the training as it stands is run in test_docs.py.
    """
    folder = tmp_path_factory.mktemp("bare")
    assert IMPORT in TRAINING and "max_epochs=10," in TRAINING
    own = "\n".join(line if not line.startswith(IMPORT) else DATA for line in TRAINING.splitlines())
    logged = own.replace("max_epochs=10,", "max_epochs=1, logger=loggers,")
    parts = (EXTRAS, VIEWS, *PLAIN[:3], WANDB, logged, REPORT)
    return folder, run(site, folder, "\n".join(parts))


def test_no_extra_is_there(ran: tuple[Path, str]) -> None:
    assert ran[1].startswith("[]\n")


def test_the_readme_trains_audits_and_reports(ran: tuple[Path, str]) -> None:
    folder, printed = ran
    assert len(re.findall(r"^exact [\d.]+ [\d.]+$", printed, flags=re.MULTILINE)) == 4
    assert "Combined" in (folder / "report.html").read_text(encoding="utf-8")


def test_wandb_gets_its_tables_without_the_images(ran: tuple[Path, str]) -> None:
    folder, printed = ran
    assert "without their images: images for W&B: PIL is not installed. pip install 'lipreg[views]'." in printed
    assert len(list(folder.rglob("points_*.table.json"))) == 2, "before the first epoch and after it"


def test_what_needs_an_extra_says_which_and_nothing_else_does(ran: tuple[Path, str]) -> None:
    """Views, the digits, and README.md's code without Lightning."""
    printed = ran[1]
    *lines, digits = printed.splitlines()[1:5]
    for line, package in zip(lines, ("matplotlib", "pandas", "rich"), strict=True):
        assert f"{package} is not installed. pip install 'lipreg[views]'" in line
    assert digits == "DigitsDataModule: sklearn is not installed. pip install 'lipreg[digits]'."
    comment = next(line for line in TRAINING.splitlines() if line.startswith(IMPORT))
    assert "lipreg[digits]" in comment
    assert "movement of the truth (E_network / E_twin)" in printed
