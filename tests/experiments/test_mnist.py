"""MNIST: small idx files in every form, what is refused, no folder, and OpenML, and the real files."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
import torch

from experiments.data import MNISTDataModule, mnist
from lipreg.errors import InvalidInput

REAL = Path(os.environ["LIPREG_DATA"]) / "mnist"
TRAIN, TEST = 60, 20


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels, the first of which is the image's number; labels 0 to 9 in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    pixels[:, 0, 0] = np.arange(count)
    return pixels, (np.arange(count) % 10).astype(np.uint8)


def write(folder: Path, zipped: bool = True, dotted: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for part, count, seed in (("train", TRAIN, 0), ("t10k", TEST, 1)):
        for name, array in zip(("images-idx3", "labels-idx1"), images(count, seed), strict=True):
            name = f"{part}-{name}-ubyte".replace("-idx", ".idx" if dotted else "-idx")
            content = gzip.compress(idx(array)) if zipped else idx(array)
            (folder / (name + ".gz" * zipped)).write_bytes(content)
    return folder


def prepared(**arguments: Any) -> MNISTDataModule:
    data = MNISTDataModule(**arguments)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "mnist")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dotted", [True, False])
def test_files_are_read_in_every_form(tmp_path: Path, zipped: bool, dotted: bool) -> None:
    data = prepared(folder=write(tmp_path, zipped, dotted))
    for part, (pixels, labels) in zip(
        (data.train_set, data.validation_set), (images(TRAIN, 0), images(TEST, 1)), strict=True
    ):
        x, y = part.tensors
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.shape[1:] == data.input_shape == (784,)
        np.testing.assert_array_equal((x * 255).round().numpy(), pixels.reshape(-1, 784))
        np.testing.assert_array_equal(y.numpy(), labels)
    assert data.train_set.tensors[0].min() == 0.0
    assert data.train_set.tensors[0].max() == 1.0


def test_images_keep_their_rows_and_columns(folder: Path) -> None:
    data = prepared(folder=folder, flat=False)
    assert data.input_shape == (1, 28, 28)
    np.testing.assert_array_equal((data.train_set.tensors[0] * 255).round().numpy()[:, 0], images(TRAIN, 0)[0])


def test_classes_are_kept_and_renumbered(folder: Path) -> None:
    data = prepared(folder=folder, classes=[7, 1])
    x, y = data.train_set.tensors
    assert (data.classes, data.digits) == (2, (7, 1))
    numbers = (x[:, 0] * 255).round().long()  # the image's own number, whose last figure is the digit
    assert numbers.tolist() == [i for i in range(TRAIN) if i % 10 in (1, 7)]
    assert torch.equal(y, (numbers % 10 == 1).long())
    assert data.validation_set.tensors[1].bincount().tolist() == [2, 2]


def test_parts_are_drawn_by_the_seed(folder: Path) -> None:
    first, again, other = (prepared(folder=folder, train_size=30, validation_size=5, seed=s) for s in (1, 1, 2))
    assert (len(first.train_set), len(first.validation_set)) == (30, 5)
    for mine, same, different in zip(
        first.train_set.tensors, again.train_set.tensors, other.train_set.tensors, strict=True
    ):
        assert torch.equal(mine, same)
        assert not torch.equal(mine, different)
    numbers = (first.train_set.tensors[0][:, 0] * 255).round().long()
    assert len(set(numbers.tolist())) == 30, "no image twice"
    assert torch.equal(first.train_set.tensors[1], numbers % 10), "labels stay with their images"


def test_the_folder_may_be_named_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPREG_DATA", str(folder.parent))
    assert len(prepared().train_set) == TRAIN


@pytest.mark.parametrize("named", [None, "", "elsewhere"])
def test_without_a_folder_nothing_is_fetched_unasked(named: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if named is None:
        monkeypatch.delenv("LIPREG_DATA", raising=False)
    else:
        monkeypatch.setenv("LIPREG_DATA", named)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *_, **__: pytest.fail("fetched"))
    says = "there is no elsewhere/mnist" if named else "LIPREG_DATA is not set"
    for step in ("prepare_data", "setup"):
        with pytest.raises(InvalidInput, match=rf"{says}.*folder=.*LIPREG_DATA names.*download=True"):
            getattr(MNISTDataModule(), step)()


def test_openml_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
        asked.append(name)
        pixels, labels = images(250, 0)
        many = np.arange(70_000) % 250
        return pixels.reshape(-1, 784)[many], labels[many].astype(str).astype(object)

    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    mnist._from_openml.cache_clear()
    try:
        data = prepared(train_size=100, validation_size=50, download=True)
    finally:
        mnist._from_openml.cache_clear()
    assert asked == ["mnist_784"]
    x, y = data.train_set.tensors
    assert torch.equal((x[:, 0] * 255).round().long() % 10, y)


def test_no_folder_and_no_network_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(name: str, **settings: Any) -> None:
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(InvalidInput, match=r"name resolution.*LIPREG_DATA"):
        MNISTDataModule(download=True).prepare_data()


@pytest.mark.parametrize(
    "content, says",
    [
        (b"not an idx file", "is no idx file"),
        (b"", "is no idx file"),
        (b"\0\0\x08\x03\0\0", "is no idx file"),
        (idx(images(TRAIN, 0)[0])[:-1], "bytes after a header"),
        (gzip.compress(idx(images(TRAIN, 0)[0]))[:-20], "cannot read"),
        (idx(images(TRAIN, 0)[0][:, :27]), r"\(60, 27, 28\)"),
        (idx(images(TRAIN - 1, 0)[0]), r"\(59, 28, 28\)"),
    ],
)
def test_broken_files_are_named(folder: Path, content: bytes, says: str) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        prepared(folder=folder)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InvalidInput, match=r"no t10k-labels-idx1-ubyte"):
        prepared(folder=folder)


def test_more_images_than_there_are(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"validation_size=5\b.*up to 4"):
        prepared(folder=folder, classes=[1, 7], validation_size=5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"train_size": 0},
        {"validation_size": 2.5},
        {"batch_size": 0},
        {"seed": -1},
        {"classes": [3]},
        {"classes": [1, 1]},
        {"classes": [1, 10]},
        {"classes": []},
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        MNISTDataModule(**arguments)


def test_the_real_files() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no digits at {REAL}; set LIPREG_DATA to the folder that holds mnist/")
    data = prepared(folder=REAL)
    # how often each digit occurs is published with the data
    assert data.train_set.tensors[1].bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert data.validation_set.tensors[1].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    x = data.train_set.tensors[0]
    assert (float(x.mean()), float(x.std())) == pytest.approx((0.1307, 0.3081), abs=1e-4)
