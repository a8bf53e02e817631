"""Reference points from files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from lipreg.errors import InvalidInput
from lipreg.loading import load_points
from lipreg.loading.points import first_points

X = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
Y = torch.tensor([0, 1, 0])


def test_every_kind_of_file_holds_the_same_points(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X.numpy())
    np.savez(tmp_path / "a.npz", x=X.numpy(), y=Y.numpy())
    torch.save({"x": X, "y": Y}, tmp_path / "a.pt")
    rows = "\n".join(f"{a!r},{int(k)},{b!r}" for (a, b), k in zip(X.tolist(), Y, strict=True))
    (tmp_path / "a.csv").write_text(f"first,class,second\n{rows}\n")
    for name, labels in (("a.npy", None), ("a.npz", None), ("a.pt", None), ("a.csv", "class")):
        x, y = load_points(tmp_path / name, labels=labels)
        assert torch.equal(x.float(), X) and x.dtype == (torch.float64 if labels else torch.float32)
        assert (y is None) if name == "a.npy" else (y is not None and torch.equal(y, Y) and y.dtype == torch.int64)
    assert load_points(tmp_path / "a.npy", shape=(1, 2))[0].shape == (3, 1, 2)


def test_what_is_no_file_of_points_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X.numpy(), y=Y.numpy()[:2])
    np.savez(tmp_path / "b.npz", images=X.numpy())
    np.save(tmp_path / "c.npy", np.array([object()]), allow_pickle=True)
    (tmp_path / "d.csv").write_text("0.1,0.2\n0.3,0.4\n")
    (tmp_path / "e.csv").write_text("a,b\n0.3\n")
    (tmp_path / "f.csv").write_text("a,b\n0.3,red\n")
    for name, said in (
        ("a.npz", "one label for each input"),
        ("b.npz", "no 'x' in .*images"),
        ("c.npy", "cannot read"),
        ("d.csv", "a header"),
        ("e.csv", "row 1 of .* has 1 columns"),
        ("f.csv", "'red' in row 1 of .*, column b"),
        ("nowhere.npz", "cannot read"),
        ("a.txt", "Accepted"),
    ):
        with pytest.raises(InvalidInput, match=said):
            load_points(tmp_path / name)
    with pytest.raises(InvalidInput, match="no 'label'"):
        load_points(tmp_path / "a.npz", labels="label")


def test_more_points_than_there_are_is_said() -> None:
    assert len(first_points(X, Y, 2)[0]) == 2 and first_points(X, None, None) == (X, None)
    with pytest.raises(InvalidInput, match="4 points asked for, and 3 there"):
        first_points(X, Y, 4)


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A mark at the beginning of the file, blanks around names."""
    for name, text in (("mark", "\ufeffy,a,b\n1,0.5,2\n"), ("blanks", 'a , "b", y\n0.5, 2, 1\n')):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        x, y = load_points(tmp_path / f"{name}.csv")
        assert x.tolist() == [[0.5, 2.0]] and y is not None and y.tolist() == [1]


def test_what_holds_no_real_numbers_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X.numpy() + 1j)
    np.savez(tmp_path / "y.npz", x=X.numpy(), y=Y.numpy() + 1j)
    torch.save({"x": X.to_sparse()}, tmp_path / "sparse.pt")
    torch.save({"x": torch.tensor(1.0)}, tmp_path / "one.pt")
    torch.save({}, tmp_path / "nothing.pt")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "twice.csv").write_text("y,a,y\n1,2,3\n")
    (tmp_path / "archive.npz").write_bytes(b"PK\x03\x04" + bytes(40))
    for name, said in (
        ("x.npz", "x of .* is complex"),
        ("y.npz", "y of .* is complex"),
        ("sparse.pt", "x of .* is sparse"),
        ("one.pt", "is one number"),
        ("nothing.pt", "it has nothing"),
        ("empty.csv", "is empty"),
        ("rows.csv", "a header and no rows"),
        ("twice.csv", "2 columns 'y'"),
        ("archive.npz", "cannot read"),
    ):
        with pytest.raises(InvalidInput, match=said) as caught:
            load_points(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(-1,), (0, 2), (1, -1)])
def test_sizes_below_one_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X.numpy())
    with pytest.raises(InvalidInput, match="each at least 1"):
        load_points(tmp_path / "a.npy", shape=shape)


def test_a_pair_in_a_file_is_inputs_and_labels(tmp_path: Path) -> None:
    for content in ((X, Y), [X, Y]):
        torch.save(content, tmp_path / "a.pt")
        x, y = load_points(tmp_path / "a.pt")
        assert torch.equal(x, X) and y is not None and torch.equal(y, Y)
    torch.save((X, Y, Y), tmp_path / "a.pt")
    with pytest.raises(InvalidInput, match="x is a tuple"):
        load_points(tmp_path / "a.pt")


def test_a_column_of_labels_under_another_name_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,Label\n0.1,0.2,1\n")
    with pytest.warns(UserWarning, match="column 'Label' of .* counts as an input: .*--labels Label"):
        x, y = load_points(path)
    assert x.shape == (1, 3) and y is None
    with pytest.raises(InvalidInput, match=r"no column 'nope' in .*Accepted: a, b, Label\."):
        load_points(path, labels="nope")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_points(path, labels="Label")
