"""What a fresh interpreter loads, for a user of the bounds alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    *("pytorch_lightning", "lightning", "torchmetrics", "wandb", "hydra", "omegaconf", "rich"),
    *("cvxpy", "highspy", "scs", "sklearn", "pandas", "matplotlib", "plotly"),
    *("scipy.sparse", "scipy.optimize", "scipy.stats"),
    "sympy",  # seconds of a first certificate's budget, by torch's own helpers
    "lipreg.estimators.yardsticks",
}


def loaded_by(program: str) -> set[str]:
    """Modules of a fresh interpreter after the program."""
    report = "import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return set(done.stdout.split())


USE = """
import torch, lipreg
net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
problem = lipreg.LocalLipschitz(region=lipreg.LinfBall(0.1), output=lipreg.AllMargins(), scope="pointed")
lipreg.estimate(net, problem, torch.zeros(2, 2), torch.tensor([0, 1])).sum().backward()
lipreg.certify(net, problem, torch.zeros(2, 2), torch.tensor([0, 1]), estimator="fastlip")
in_l2 = lipreg.LocalLipschitz(region=lipreg.L2Ball(0.1), output=lipreg.Vector(), p=2)
lipreg.certify(net, in_l2, torch.zeros(2, 2), estimator="affine_relu")
"""


HELP = "from lipreg.command.main import parser\nparser().format_help()"


@pytest.mark.parametrize("program", ["import lipreg", HELP], ids=["import", "help"])
def test_nobody_waits_for_torch_before_it_is_used(program: str) -> None:
    loaded = loaded_by(program)
    assert "lipreg" in loaded and not loaded.intersection({"torch", "numpy", *HEAVY})


def test_the_library_loads_torch_and_nothing_heavier() -> None:
    loaded = loaded_by(f"from lipreg import *\n{USE}")
    assert {"torch", "lipreg"} <= loaded
    assert not loaded.intersection(HEAVY)


def test_the_facade_names_what_it_offers() -> None:
    import lipreg

    assert all(hasattr(lipreg, name) for name in lipreg.__all__)
    assert len(set(lipreg.__all__)) == len(lipreg.__all__)
    assert set(lipreg.__all__) <= set(dir(lipreg))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lipreg.nothing  # noqa: B018


def test_checks_and_reports_need_no_test_framework_no_view_and_nothing_that_lipreg_does_not_install() -> None:
    """Of core dependencies scipy and highspy, in which programs and pieces are solved."""
    loaded = loaded_by("import lipreg.testing, lipreg.reporting, lipreg.transfer")
    assert not loaded.intersection(
        {"pytest", "hypothesis", "_pytest", *(HEAVY - {"scipy.sparse", "scipy.optimize", "highspy"})}
    )
