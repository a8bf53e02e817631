"""Networks by their names, with saved weights: nothing is dropped, nothing is run, and mistakes are one line."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lipreg.errors import InvalidInput
from lipreg.loading import load_network

HERE = __name__


class Net(nn.Module):
    """A network with a head that is no part of the question."""

    def __init__(self, widths: Sequence[int] = (4, 5, 3)) -> None:
        super().__init__()
        first, hidden, last = widths
        self.body = nn.Sequential(nn.Linear(first, hidden), nn.ReLU(), nn.Linear(hidden, last))
        self.head = nn.Softmax(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def make(hidden: int) -> nn.Module:
    return Net((4, hidden, 3))


READY = Net()


def saved(path: Path, net: nn.Module, **checkpoint: Any) -> Path:
    content = {"state_dict": net.state_dict(), "epoch": 1, **checkpoint} if checkpoint else net.state_dict()
    torch.save(content, path)
    return path


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return one.state_dict().keys() == theirs.keys() and all(
        torch.equal(v, theirs[k]) for k, v in one.state_dict().items()
    )


def test_a_class_a_factory_and_a_module_by_name(tmp_path: Path) -> None:
    net, wide = Net(), make(7)
    assert same(load_network(f"{HERE}:Net", weights=saved(tmp_path / "w.pt", net)), net)
    assert same(load_network(f"{HERE}:make", arguments={"hidden": 7}, weights=saved(tmp_path / "v.pt", wide)), wide)
    assert load_network(f"{HERE}:READY") is READY and not READY.training
    assert same(load_network(f"{HERE}:Net", weights=tmp_path / "w.pt", module="body"), net.body)


def test_a_checkpoint_has_the_arguments(tmp_path: Path) -> None:
    net = make(6)
    path = saved(tmp_path / "a.ckpt", net, hyper_parameters={"widths": [4, 6, 3]})
    assert same(load_network(f"{HERE}:Net", weights=path), net)
    path = saved(tmp_path / "b.ckpt", net, hyper_parameters={"widths": [4, 6, 3], "rate": 0.1})
    with pytest.raises(InvalidInput, match=r"hyperparameters of .*'rate'.*Give the arguments yourself"):
        load_network(f"{HERE}:Net", weights=path)
    assert same(load_network(f"{HERE}:Net", weights=path, arguments={"widths": [4, 6, 3]}), net)


@pytest.mark.parametrize(
    ("parameters", "named", "todo"),
    [
        (OmegaConf.create({"widths": [4, 5, 3]}), "DictConfig", r"OmegaConf\.to_container"),
        (argparse.Namespace(widths=[4, 5, 3]), "argparse.Namespace", r"vars\(args\)"),
        (Net(), "test_networks.Net", "Save the weights alone"),
    ],
    ids=["DictConfig", "Namespace", "module"],
)
def test_what_is_no_plain_data_is_named_with_what_to_do(parameters: Any, named: str, todo: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ckpt", Net(), hyper_parameters=parameters)
    with pytest.raises(InvalidInput, match=f"{named}.*{todo}") as caught:
        load_network(f"{HERE}:Net", weights=path)
    assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)


def test_no_tensor_is_left_over(tmp_path: Path) -> None:
    state = {**Net().state_dict(), "extra": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InvalidInput, match="no place for extra"):
        load_network(f"{HERE}:Net", weights=tmp_path / "w.pt")
    del state["extra"], state["body.0.bias"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InvalidInput, match=r"needs body\.0\.bias"):
        load_network(f"{HERE}:Net", weights=tmp_path / "w.pt")
    with pytest.raises(InvalidInput, match=r"other shapes: body\.0\.weight is \(7, 4\), here \(5, 4\)"):
        load_network(f"{HERE}:Net", weights=saved(tmp_path / "v.pt", make(7)))


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("Net", {}, "'Net'.*Write a colon"),
        (f"{HERE}:Nett", {}, "did you mean 'Net'"),
        ("nowhere.nets:Net", {}, "no module 'nowhere'"),
        (f"{HERE}:HERE", {}, "is a str"),
        (f"{HERE}:argparse", {}, "is a module"),
        (f"{HERE}:saved", {"arguments": {"hidden": 3}}, "missing a required argument"),
        (f"{HERE}:make", {"arguments": {"hiden": 3}}, r"hiden|missing"),
        (f"{HERE}:READY", {"arguments": {"a": 3}}, "a network already"),
        (f"{HERE}:Net", {"module": "bodi"}, "did you mean 'body'"),
        (f"{HERE}:Net", {"weights": "nowhere.pt"}, r"cannot read nowhere\.pt: no such file or directory\."),
    ],
)
def test_a_mistake_is_one_line(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        load_network(name, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"abc", "cannot read .*damaged"),
        (b"PK\x03\x04 and so on", "cannot read .*: it is cut short or damaged\\."),
        (b"P", "cannot read .*: it is cut short or damaged\\."),
        ({"body.0.weight": torch.eye(4).to_sparse()}, r"body\.0\.weight, which is sparse"),
        ({"body.0.weight": torch.eye(4, dtype=torch.complex64)}, r"body\.0\.weight, which is complex"),
        ({"body.0.weight": torch.empty(4, 4, device="meta")}, r"body\.0\.weight, which is without values"),
        ({"state_dict": Net().state_dict(), "hyper_parameters": [4, 5, 3]}, "hyper_parameters of .* are a list"),
        ({1: torch.eye(4), 2: torch.eye(4)}, "no place for 1, 2"),
    ],
)
def test_a_file_of_no_weights_is_one_line(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InvalidInput, match=said) as caught:
        load_network(f"{HERE}:Net", weights=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", ["model", "state_dict", "net"])
def test_a_state_dict_may_lie_in_an_entry_of_any_name(entry: str, tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "m.pt"
    torch.save({entry: net.state_dict(), "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert same(load_network(f"{HERE}:Net", weights=path), net)
    assert [f"entry {entry!r}" in str(one.message) for one in said] == [True] * (entry != "state_dict")
    torch.save({"model": net.state_dict(), "average": Net().state_dict()}, path)
    with pytest.raises(InvalidInput, match="model, average, each of which may be the weights"):
        load_network(f"{HERE}:Net", weights=path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "a.b."])
def test_names_that_all_begin_alike_count_without_that(prefix: str, tmp_path: Path) -> None:
    net, path = Net(), tmp_path / "w.pt"
    torch.save({prefix + name: value for name, value in net.state_dict().items()}, path)
    with pytest.warns(UserWarning, match=f"names without '{prefix}'"):
        assert same(load_network(f"{HERE}:Net", weights=path), net)
    with pytest.raises(InvalidInput, match=f"All names begin with '{prefix}body.'"):
        load_network(f"{HERE}:make", arguments={"hidden": 9}, weights=path)
    torch.save({f"body.{name}": value for name, value in net.body.state_dict().items()} | {"head": torch.ones(1)}, path)
    with pytest.raises(InvalidInput, match=r"no place for body\.0\.weight"):  # not all begin so
        load_network(f"{HERE}:body", weights=path)


def body() -> nn.Module:
    return Net().body


class Configured(Net):
    """A class that takes one object of settings."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf.widths)


def broken() -> nn.Module:
    raise RuntimeError("of my own")


def leaves() -> nn.Module:
    raise SystemExit(5)


def test_a_program_that_ends_where_a_network_is_wanted_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"leaves\(\) raises SystemExit: 5"):
        load_network(f"{HERE}:leaves")
    with pytest.raises(InvalidInput, match="makes a int"):
        load_network("builtins:int")


def test_an_error_of_the_class_names_it_and_says_what_a_factory_is_for(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=rf"{HERE}:broken\(\) raises RuntimeError: of my own \(test_networks.py, line"
    ):
        load_network(f"{HERE}:broken")
    with pytest.raises(
        InvalidInput, match=r"'dict' object has no attribute 'widths'.*package.module:make; conf came as"
    ):
        load_network(f"{HERE}:Configured", arguments={"conf": {"widths": [4, 5, 3]}})
    path = saved(tmp_path / "a.ckpt", Net(), hyper_parameters={"widths": [4, 5, 3]})  # what vars(args) leaves
    with pytest.raises(InvalidInput, match=r"Accepted: Configured\(conf.*made by a function of yours"):
        load_network(f"{HERE}:Configured", weights=path)
