"""What is read from a file, and what is refused."""

from __future__ import annotations

import copy
import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipreg.certificates.encoding import numbers
from lipreg.checking import Damaged, Refused, check, file, read
from lipreg.checking.file import parse
from lipreg.checking.verdict import crossing, functionals
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.testing.networks import network
from tests.certificates.cases import certified


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    x = torch.zeros(1, 2, dtype=torch.float64)
    return certified(network("shallow"), LocalLipschitz(LinfBall(1.0), AllLogits()), x)[1].plain


def changed(plain: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    found = copy.deepcopy(plain)
    *before, last = [int(part) if part.lstrip("-").isdigit() else part for part in path.split(".")]
    at: Any = found
    for part in before:
        at = at[part]
    at[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("version", 4, "knows 'lipreg certificate' of versions 1 to 3"),
        ("format", "another", "knows 'lipreg certificate'"),
        ("more", 1, "fields"),
        ("producer", [], "not an object of texts"),
        ("question.scope", "pointed", "scope 'pointed'"),
        ("question.q", "2", "q = '2'"),
        ("question.region.kind", "polytope", "'polytope' in the norm 'inf'"),
        ("question.region.radius", numbers(-1.0), "a radius that is not above 0"),
        ("question.rows", numbers(np.zeros((1, 2))), "numbers of shape"),
        ("network.inputs", 3, "numbers"),
        ("network.nodes.0.kind", "gelu", "a node of kind 'gelu'|fields"),
        ("network.nodes.1.source", 5, "in place of a whole number"),
        ("network.nodes.1.slope", numbers(1.5), "a slope of 1.5"),
        ("network.nodes.0.terms.0.1", {"product": []}, "a product of maps that do not fit"),
        ("claim.upper", "1", "two whole numbers with /"),
        ("claim.upper", "-1/3", r"claim: the lower end \d\.\d+ is above the upper end -0\.333333333$"),
        ("claim.lower", "-1/3", r"claim: the lower end -0\.333333334 is below 0"),
        ("lower", None, "a lower end above 0 without a witness"),
        ("lower.row", 99, "row 99 of 3"),
        ("lower.point", numbers(np.array([2.0, 0.0])), "outside of the region"),
        ("upper", [], "0 trees for 3 functionals"),
        ("upper.0", [], "a part of the region is left out"),
        ("upper.0.0", ["split", 10**6], "unit 1000000, and there are"),
        ("upper.0.0", ["known", 10**6, "on", []], "unit 1000000, and there are"),
        ("upper.0.0", ["known", 0, "on", [10**6, 0, 1, 0]], "unit 1000000 does not exist"),
        ("upper.0.0", ["known", 0, "up", []], "a node"),
        ("upper.0", [["flat", []]], "do not make the cell flat"),
        ("upper.0", [["flat", [0]]], "do not make the cell flat"),
        ("upper.0", [["flat", [10**6]]], "unit 1000000 does not exist"),
        ("upper.0.0", ["believe me"], "a node"),
        ("upper.0", [["bounds"]], "bounds do not contradict"),
        ("upper.0", [["empty", []]], "leave points in the cell"),
        ("upper.0", [["empty", [0, 0, -1, 0]]], "a multiplier"),
        ("upper.0", [["empty", [0, 0, 1]]], "fours of whole numbers"),
    ],
)
def test_what_is_wrong_is_refused_by_name(plain: dict[str, Any], path: str, value: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check(parse(changed(plain, path, value)))


def test_more_nodes_than_the_tree_has(plain: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="more nodes than its splits make"):
        check(parse(changed(plain, "upper.0", [*plain["upper"][0], ["gradient"]])))


def test_files_compressed_or_not(plain: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(plain).encode()
    for name, data in (("a", text), ("b", gzip.compress(text))):
        (tmp_path / name).write_bytes(data)
    assert check(read(tmp_path / "a")) == check(read(tmp_path / "b"))
    no_json = "no certificate: neither JSON nor compressed JSON"
    for name, data, why in (
        ("c", b"{", "no certificate: its JSON breaks off or is damaged: .* line 1 column 2"),
        ("d", gzip.compress(text)[:-20], "cannot be read: its end is missing"),
        ("e", b"\xff", no_json),
        ("f", b"[" * 10**6, "cannot be read"),
        ("g", b"some words", no_json),
        ("h", gzip.compress(b"some words"), no_json),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Refused, match=why):
            read(tmp_path / name)
    with pytest.raises(Refused, match="cannot be read") as refused:
        read(tmp_path / "none")
    assert not isinstance(refused.value, Damaged), "of what is not there nothing is known"


def test_damaged_files_say_what_happened_to_them(plain: dict[str, Any], tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(plain).encode())
    for data, why in (
        (b"", "it is empty"),
        (gzip.compress(b""), "it is empty"),
        (whole[:-40], "its end is missing"),
        (whole[:-8] + bytes(8), r"it is damaged \(CRC check failed"),
        (whole[:10] + bytes(40), r"it is damaged \(Error -3"),
        (whole + b"more", r"it is damaged \(Not a gzipped file"),
    ):
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(Damaged, match=f"cannot be read: {why}"):
            read(tmp_path / "damaged")


def test_ends_that_cross_are_told_in_as_many_digits_as_tell_them_apart() -> None:
    lower, upper = Fraction(1, 3) + Fraction(1, 10**20), Fraction(1, 3)
    told = [f"0.{'3' * 36}", f"0.{'3' * 19}4{'3' * 16}"]
    assert crossing(lower, upper) == f"the lower end {told[1]} is above the upper end {told[0]}"
    assert crossing(Fraction(2), Fraction(1, 4)) == "the lower end 2 is above the upper end 0.25"


def test_signed_sums() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0]])
    found, bits = functionals(rows, signs=True)
    assert (found.astype(float) / 2**bits).tolist() == [[1.0, 2.0], [1.0, -2.0]]
    assert len(functionals(rows[:1], signs=True)[0]) == 1
    with pytest.raises(Refused, match="signed sums of 17 rows"):
        functionals(np.zeros((17, 1)), signs=True)


def test_progress_is_told(plain: dict[str, Any]) -> None:
    seen = []
    check(parse(plain), seen.append)
    assert [p.checked for p in seen] == list(range(1, seen[-1].nodes + 1))


def test_what_is_hostile_is_refused(plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes and numbers beyond any room, texts that grow, names that stand twice: each is refused, and none is an error."""

    def refused(text: str | bytes, says: str) -> None:
        path = tmp_path / "hostile.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(Refused, match=says):
            check(read(path))

    text = json.dumps(plain)
    refused(text.replace('"version": 3', '"version": 3.0'), "of version 3.0")
    refused(text.replace('"version": 3', '"version": 3, "version": 3'), "stands twice")
    monkeypatch.setattr(file, "LARGEST_TEXT", 1 << 20)
    refused(gzip.compress(b" " * (1 << 20), 1), "no certificate: neither JSON")
    refused(gzip.compress(b" " * ((1 << 20) + 1), 1), "a text of more than")
    for size in (10**10, 10**19, 10**30):
        refused(json.dumps(changed(plain, "network.inputs", size)), "in place of a whole number")
    verdict = check(parse(changed(plain, "claim.upper", f"{10**400}/1")))  # which holds, whatever size it has
    assert verdict.upper == 10**400
