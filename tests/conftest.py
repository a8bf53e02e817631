"""Settings of the whole suite: deterministic hypothesis runs, one torch thread, and the folder of reference values."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

import lipreg.estimators.yardsticks  # noqa: F401  whoever goes through the registry is to meet all
from lipreg.auditing import process
from tests.forks import PROGRAMS, WORKERS, ForkServer
from tests.groupsort import between_layers
from tests.sampling import EVERYTHING, split

ROOT = Path(__file__).resolve().parent.parent
# whichever test imports ray first, Hydra's launcher among them, it is to stay on the loopback interface
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("LIPREG_DATA", str(ROOT.parent / "shared" / "data"))  # as the Makefile does

FRESH = process.launch
LONGEST = (
    "tests/conformance/test_estimators.py",
    "tests/experiments/test_train.py",
    "tests/test_docs.py",
    "tests/experiments/test_sweeps.py",
    "tests/auditing/test_ray.py",
    "tests/auditing/test_processes.py",
    "tests/experiments/test_survival.py",
    "tests/conformance/test_lowerings.py",
    "tests/test_packaging.py",
    "tests/attacks/test_attacks.py",
    "tests/callbacks/test_runs_of_trainings.py",
    "tests/loading/test_exported.py",
    "tests/experiments/test_estimators.py",
    "tests/callbacks/test_matrix.py",
    "tests/test_bare_install.py",
    "tests/callbacks/test_audit.py",
    "tests/conformance/test_quantities.py",
    "tests/experiments/test_experiments.py",
    "tests/reporting/test_browser.py",
    "tests/search/test_search.py",
    "tests/conformance/test_solvers.py",
    "tests/estimators/test_branch_and_bound.py",
    "tests/estimators/test_lipsdp.py",
    "tests/curves/test_curves.py",
    "tests/test_reference.py",
    "tests/estimators/test_pointed.py",
    "tests/estimators/test_difference.py",
    "tests/callbacks/test_scale_free.py",
    "tests/estimators/test_closed_form.py",
    "tests/conformance/test_usual.py",
    "tests/testing/test_wrong_estimators.py",
    "tests/conformance/test_lying_solvers.py",
    "tests/test_distances.py",
    "tests/estimators/test_mip.py",
    "tests/estimators/test_solver_choice.py",
    "tests/bounds/test_jacobian_relaxation.py",
    "tests/estimators/test_coverage.py",
    "tests/callbacks/test_distributed_audit.py",
    "tests/derivatives/test_exact.py",
    "tests/testing/test_wrong_products.py",
    "tests/estimators/test_more_time.py",
    "tests/experiments/test_audit.py",
    "tests/estimators/test_starting.py",
    "tests/conformance/test_executors.py",
    "tests/estimators/test_whole_space.py",
    "tests/search/test_mixed.py",
    "tests/checking/test_by_fractions.py",
    "tests/bounds/test_pooling.py",
    "tests/test_reference_exact.py",
    "tests/search/test_few_inputs.py",
    "tests/test_default_dtype.py",
    "tests/experiments/test_estimators_page.py",
    "tests/zoo/test_zoo.py",
    "tests/estimators/test_vector_valued.py",
    "tests/population/test_survey.py",
    "tests/estimators/test_witness.py",
    "tests/search/test_hunt.py",
    "tests/estimators/test_radius.py",
    "tests/experiments/test_regularizers.py",
    "tests/attacks/test_known_cases.py",
    "tests/estimators/test_curved.py",
    "tests/bounds/test_analysis.py",
    "tests/callbacks/test_background.py",
    "tests/command/test_page.py",
    "tests/graph/test_comparing.py",
    "tests/search/test_bounds.py",
    "tests/estimators/test_large_inputs.py",
    "tests/estimators/test_before_searches.py",
    "tests/certificates/test_certified.py",
    "tests/estimators/test_l2_balls.py",
    "tests/test_reference_solvers.py",
    "tests/estimators/test_closed_form_convolutions.py",
)
"""Files of more than some seconds, the longest first; Ray's early, as it mostly waits."""

settings.register_profile(
    "lipreg",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25 if EVERYTHING else 15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("lipreg")
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Shells start background jobs with SIGINT ignored, and Python leaves it so; tests of Ctrl-C need it heard."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first: ``make test`` hands out whole files, and short ones fill up the end."""
    items[:], left = split(items)
    config.hook.pytest_deselected(items=left)
    place = {ROOT / name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish() -> None:
    """What is loaded and collected by now stays: a million objects that no collection of garbage has to look at again."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, eq=False)
class Reference:
    """Networks with proved regional constants: ``exact`` by case and norm, ``vector_valued`` by case, norm and output."""

    folder: Path
    exact: dict[str, dict[str, float]]
    vector_valued: dict[str, dict[str, dict[str, float]]]

    def case(self, name: str) -> dict[str, np.ndarray]:
        """The arrays W0, b0, ..., lo, hi, x0 and c of a case."""
        with np.load(self.folder / "cases" / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays.files}


@pytest.fixture(scope="session")
def reference() -> Reference:
    """The reference values, from the folder that LIPREG_REFERENCE names, else ../shared/reference beside the checkout."""
    folder = Path(os.environ.get("LIPREG_REFERENCE") or ROOT.parent / "shared" / "reference")
    if not (folder / "exact.json").is_file():
        pytest.skip(f"no reference values at {folder}; set LIPREG_REFERENCE to the folder that holds exact.json")
    parsed: dict[str, Any] = {
        key: json.loads((folder / f"{key}.json").read_text(encoding="utf-8")) for key in ("exact", "vector_valued")
    }
    return Reference(folder, **parsed)


@pytest.fixture(scope="session")
def published() -> Callable[[str], nn.Sequential]:
    """Networks that others published, from the folder that LIPREG_NETS names, else ../shared/nets beside the checkout.

    Takes the name of a file of weights W0, b0, ..., with ReLU between the layers, or the GroupSort in its name.
    """
    folder = Path(os.environ.get("LIPREG_NETS") or ROOT.parent / "shared" / "nets")
    if not (folder / "lipbab").is_dir():
        pytest.skip(f"no networks at {folder}; set LIPREG_NETS to the folder that holds lipbab/")

    def network(name: str) -> nn.Sequential:
        with np.load(folder / f"{name}.npz") as arrays:
            layers: list[nn.Module] = []
            for weight, bias in zip(
                *([arrays[k] for k in sorted(arrays) if k[0] == kind] for kind in "Wb"), strict=True
            ):
                layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
                layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias.flatten())
                layers += [layer, between_layers(name)]
        return nn.Sequential(*layers[:-1]).double()

    return network


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, by way of its source archive, as pip makes it from a release."""
    folder = tmp_path_factory.mktemp("wheel")

    def build(kind: str, source: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
        subprocess.run(command, cwd=source, capture_output=True, check=True, timeout=600)

    build("sdist", ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    build("wheel", folder / archive.name.removesuffix(".tar.gz"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it lies in somebody's folder of packages, where what is imported of it stays compiled."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@dataclass(frozen=True)
class Unsound:
    """A network, a question and a point on which an engine was wrong, as a script says them."""

    network: Any
    problem: Any
    x: Any


@pytest.fixture(scope="session")
def unsound() -> Unsound:
    """The case mip_presolve.py of the folder that LIPREG_UNSOUND names, else of ../shared/unsound beside the checkout."""
    path = Path(os.environ.get("LIPREG_UNSOUND") or ROOT.parent / "shared" / "unsound") / "mip_presolve.py"
    if not path.is_file():
        pytest.skip(f"no case at {path}; set LIPREG_UNSOUND to the folder that holds mip_presolve.py")
    said: dict[str, Any] = {}
    # what comes before the loop that asks the engines
    exec(compile(path.read_text(encoding="utf-8").partition("for e, s in")[0], str(path), "exec"), said)
    return Unsound(said["net"], said["problem"], said["x"])


@pytest.fixture(scope="session", autouse=True)
def _working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests run in an empty folder, as nothing may need the working directory to be the checkout."""
    folder = tmp_path_factory.mktemp("working_directory")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(scope="session")
def programs() -> Iterator[ForkServer]:
    """Starts programs of this checkout, or of anybody's, in a fraction of a second."""
    server = ForkServer(PROGRAMS)
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def _forked_workers() -> Iterator[None]:
    """Worker processes are forks of one, except where a test changes what they are started with, or asks for fresh ones.

    They have the import path of the moment all the same: packages that tests import, Ray's and others, put folders on it.
    """
    interpreter, environment, server = sys.executable, process.worker_environment, ForkServer(WORKERS)

    def launch(command: list[str], connection: int, said: Any) -> Any:
        if command[0] != interpreter or process.worker_environment is not environment:
            return FRESH(command, connection, said)
        own = {**os.environ, **environment()}
        return server.start(command, os.getcwd(), own, (said, said), (connection,))

    process.launch = launch
    yield
    process.launch = FRESH
    server.close()


@pytest.fixture
def fresh_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes are interpreters of their own, started as users' are."""
    monkeypatch.setattr(process, "launch", FRESH)


@pytest.fixture(autouse=True)
def _nothing_is_left_in_the_working_directory(_working_directory: Path) -> Iterator[None]:
    yield
    left = sorted(_working_directory.iterdir())
    for path in left:  # the next test is not to be blamed
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not left, f"left in the working directory: {', '.join(path.name for path in left)}"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test draws the same weights whichever tests ran before it."""
    torch.random.default_generator.manual_seed(0)
