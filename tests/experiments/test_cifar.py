"""CIFAR-10: small batches in every form, what is refused, no folder, and OpenML, and the real files."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
import torch

from experiments.data import CIFAR10DataModule, cifar
from lipreg.errors import InvalidInput

REAL = Path(os.environ["LIPREG_DATA"]) / "cifar10"
TRAIN, TEST = 40, 20


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels, the first of which is the image's number; labels 0 to 9 in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(count)
    return pixels, (np.arange(count) % 10).astype(np.uint8)


def write(folder: Path, end: str = "", train: int = TRAIN) -> Path:
    folder.mkdir(exist_ok=True)
    packed = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[end]
    for name, count, seed in (("data_batch_1.bin", train, 0), ("test_batch.bin", TEST, 1)):
        pixels, labels = images(count, seed)
        records = np.concatenate([labels[:, None], pixels.reshape(count, -1)], axis=1)
        (folder / f"{name}{end}").write_bytes(packed(records.tobytes()))
    return folder


def prepared(**arguments: Any) -> CIFAR10DataModule:
    data = CIFAR10DataModule(**arguments)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize("end", ["", ".gz", ".xz"])
def test_batches_are_read_in_every_form(tmp_path: Path, end: str) -> None:
    data = prepared(folder=write(tmp_path, end))
    for part, (pixels, labels) in zip(
        (data.train_set, data.validation_set), (images(TRAIN, 0), images(TEST, 1)), strict=True
    ):
        x, y = part.tensors
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.shape[1:] == data.input_shape == (3, 32, 32)
        np.testing.assert_array_equal((x * 255).round().numpy(), pixels)
        np.testing.assert_array_equal(y.numpy(), labels)


def test_several_batches_are_joined_and_parts_are_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "data_batch_4.bin").write_bytes((folder / "test_batch.bin").read_bytes())
    assert len(prepared(folder=folder).train_set) == TRAIN + TEST
    first, again, other = (prepared(folder=folder, train_size=30, validation_size=5, seed=s) for s in (1, 1, 2))
    assert (len(first.train_set), len(first.validation_set)) == (30, 5)
    assert torch.equal(first.train_set.tensors[0], again.train_set.tensors[0])
    assert not torch.equal(first.train_set.tensors[0], other.train_set.tensors[0])
    x, y = first.train_set.tensors
    assert torch.equal(y, (x[:, 0, 0, 0] * 255).round().long() % 10), "labels stay with their images"


def test_what_is_no_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no data_batch_1\.bin"):
        prepared(folder=tmp_path)
    folder = write(tmp_path / "some")
    with pytest.raises(InvalidInput, match=f"train_size=50. Accepted: up to {TRAIN}"):
        prepared(folder=folder, train_size=50)
    whole = (folder / "data_batch_1.bin").read_bytes()
    for content, said in (
        (whole[:-1], "3073 bytes an image"),
        (b"\x0b" + whole[1:], "a label of 11"),
        (b"", "0 bytes"),
    ):
        (folder / "data_batch_1.bin").write_bytes(content)
        with pytest.raises(InvalidInput, match=said):
            prepared(folder=folder)
    (folder / "data_batch_1.bin").unlink()
    (folder / "data_batch_1.bin.xz").write_bytes(b"no xz")
    with pytest.raises(InvalidInput, match="cannot read"):
        prepared(folder=folder)


def test_without_a_folder_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *_, **__: pytest.fail("fetched"))
    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"there is no .*cifar10.*download=True"):
        prepared()
    monkeypatch.delenv("LIPREG_DATA")
    with pytest.raises(InvalidInput, match="LIPREG_DATA is not set"):
        prepared()
    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    write(tmp_path / "cifar10")
    assert len(prepared().train_set) == TRAIN


def test_openml_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
        asked.append(name)
        pixels, labels = images(50, 0)
        many = np.arange(60_000) % 50
        return np.broadcast_to(pixels.reshape(50, -1)[:1], (60_000, 3072)), labels[many].astype(str).astype(object)

    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    cifar._from_openml.cache_clear()
    try:
        data = prepared(train_size=10, validation_size=5, download=True)
    finally:
        cifar._from_openml.cache_clear()
    assert asked == ["CIFAR_10"]
    assert (len(data.train_set), len(data.validation_set)) == (10, 5)


def test_no_answer_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        raise URLError("no route")

    monkeypatch.setenv("LIPREG_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    cifar._from_openml.cache_clear()
    with pytest.raises(InvalidInput, match=r"OpenML did not answer: URLError.*pass folder="):
        prepared(download=True)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="LIPREG_DATA has no cifar10")
def test_the_real_files_have_as_many_images_of_every_class() -> None:
    data = prepared()
    assert data.validation_set.tensors[1].bincount().tolist() == [1000] * 10
    assert data.input_shape == tuple(data.train_set.tensors[0].shape[1:])
    assert 0.4 < float(data.train_set.tensors[0][:1000].mean()) < 0.55
