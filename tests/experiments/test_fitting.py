"""Data, model and problem that do not fit together are refused before any training, with the overrides that mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.choices import build
from experiments.fitting import check_fit
from experiments.models import Classifier, ImageClassifier, Regressor
from experiments.parts import question
from lipreg.errors import InvalidInput
from tests.experiments import test_cifar, test_mnist
from tests.experiments.test_train import composed

WRONG = {
    "data=diabetes model.widths=[10,8,1] problem=l2_vector": "values, and a model of classes",
    "data=diabetes": "problem=l2_vector",
    "data=diabetes model=mlp_regression": "AllMargins",
    "model=mlp_regression model.widths=[64,8,10] problem=l2_vector": "classes, and a model of values",
    "data=diabetes model=mlp_regression model.widths=[10,8,3] problem=l2_vector": "targets of shape (1,)",
    "data=diabetes model=mlp_regression model.widths=[7,8,1] problem=l2_vector": "model of inputs of shape (7,)",
    "model=lenet": "inputs of shape (64,)",
    "data=mnist model=lenet": "Pass data.flat=false",
    "data=mnist": "inputs of shape (784,)",
    "data=mnist data.flat=false": "inputs of shape (1, 28, 28)",
    "data=mnist data.flat=false model=lenet model.classes=4": "10 classes, and a model of 4 outputs",
    "data=cifar10 model=cnn": "Pass model.channels=3 model.size=32",
    "data=cifar10": "inputs of shape (3, 32, 32)",
    "data=mnist data.flat=false model=resnet18 model.width=2": "Pass data=cifar10, or model=cnn model.channels=1",
    "data=clusters": "inputs of shape (10,)",
    "model.widths=[64,8,4]": "10 classes, and a model of 4 outputs",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    return {"mnist": test_mnist.write(folder / "mnist"), "cifar10": test_cifar.write(folder / "cifar10")}


def checked(given: Sequence[str], images: dict[str, Path]) -> None:
    own = [f"data.folder={folder}" for name, folder in images.items() if f"data={name}" in given]
    cfg = composed(*given, *own)
    check_fit(build(cfg.data, "data"), build(cfg.model, "model"), question(cfg))


@pytest.mark.parametrize("given", WRONG)
def test_what_does_not_fit_is_refused_and_its_advice_mends_it(given: str, images: dict[str, Path]) -> None:
    """Each advice, taken as it is written, makes a job that is accepted: by itself, or with a second advice."""
    overrides = given.split()
    with pytest.raises(InvalidInput) as refused:
        checked(overrides, images)
    assert WRONG[given] in str(refused.value)
    for _ in range(2):
        advice = str(refused.value).partition("Pass ")[2].partition(", or ")[0].removesuffix(".").split()
        assert advice and all("=" in override for override in advice)
        named = {override.partition("=")[0] for override in advice}
        kept = [o for o in overrides if o.partition("=")[0] not in named]
        for group in {"model", "data"} & named:  # values of another option are none of this one
            kept = [o for o in kept if not o.startswith(f"{group}.")]
        overrides = [*kept, *advice]
        try:
            checked(overrides, images)
        except InvalidInput as error:
            refused.value.args = error.args
        else:
            return
    pytest.fail(f"{overrides}: {refused.value}")


def test_what_fits_is_accepted(images: dict[str, Path]) -> None:
    for given in (
        "",
        "data=diabetes model=mlp_regression problem=l2_vector",
        "data=mnist model.widths=[784,8,10]",
        "data=mnist data.flat=false model=cnn",
        "data=cifar10 model=vgg11 model.width=2",
        "data=clusters model.widths=[10,4,5]",
    ):
        checked(given.split(), images)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Classifier, {"widths": []}, r"widths=\[\].*such as"),
        (Regressor, {"widths": [64]}, r"widths=\[64\].*such as"),
        (Classifier, {"widths": [64, 0, 10]}, "widths of 0"),
        (ImageClassifier, {"width": 0}, "width of 0"),
        (ImageClassifier, {"network": "cnn", "size": 30}, "size=30 .*multiple of 4"),
        (ImageClassifier, {"size": 12}, "size=12 .*at least 13"),
        (ImageClassifier, {"network": "vgg11", "channels": 3, "size": 32, "classes": 0}, "classes of 0"),
    ],
)
def test_sizes_that_make_no_network_are_refused(kind: type[Any], given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        kind(**given)
