"""The one kind of registry: names belong to one class, and go with the instances that bear them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, BoundEstimator, register
from lipreg.estimators.products.spectral import Spectral
from lipreg.options import Registry


class Twice(Spectral):
    """The spectral product under another name."""


@pytest.fixture(autouse=True)
def estimators_as_they_were() -> Iterator[None]:
    before = dict(ESTIMATORS)
    yield
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced() -> None:
    exact = ESTIMATORS["mip"]
    with pytest.raises(InvalidInput, match=r"belongs to lipreg\.estimators\.exact\.mip\.MixedInteger"):
        register("mip")(Twice)
    assert ESTIMATORS["mip"] is exact and "name" not in vars(Twice)
    register("mip", replace=True)(Twice)
    assert isinstance(ESTIMATORS["mip"], Twice)


def test_names_of_another_module_are_known_and_loaded_when_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far_kinds.py").write_text(
        "from dataclasses import dataclass\nfrom near_kinds import KINDS\n\n"
        "@KINDS.register('far')\n@dataclass(frozen=True)\nclass Far:\n    size: int = 1\n"
    )
    near, kinds = ModuleType("near_kinds"), Registry[type]("kind")
    near.KINDS = kinds  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "near_kinds", near)
    monkeypatch.syspath_prepend(tmp_path)
    kinds.elsewhere("far_kinds", "far")
    assert kinds.all_names() == ("far",) and not kinds and "far_kinds" not in sys.modules
    with pytest.raises(InvalidInput, match="far"):
        kinds.find("fra")
    with pytest.raises(InvalidInput, match=r"belongs to far_kinds\.Far"):
        kinds.register("far")(dataclass(frozen=True)(type("Mine", (), {"__module__": "__main__"})))
    assert kinds.build("far").size == 1
    monkeypatch.delitem(sys.modules, "far_kinds")


def test_a_class_of_that_name_elsewhere_is_another_one() -> None:
    other = type("MixedInteger", (Spectral,), {"__module__": "__main__"})
    with pytest.raises(InvalidInput, match="belongs to"):
        register("mip")(other)


def test_a_class_that_is_defined_anew_takes_its_own_name() -> None:
    for _ in range(2):
        register("mine")(type("Mine", (Spectral,), {"__module__": "__main__"}))
    assert isinstance(ESTIMATORS["mine"], BoundEstimator)


def test_one_class_under_two_names_is_two_instances_that_keep_theirs() -> None:
    register("first")(Twice)
    register("second")(Twice)
    assert [ESTIMATORS[name].name for name in ("first", "second")] == ["first", "second"]
    assert pickle.loads(pickle.dumps(ESTIMATORS["second"])).name == "second"
    assert ESTIMATORS["spectral"].name == "spectral"


def test_kinds_with_options_are_dataclasses() -> None:
    kinds: Registry[type] = Registry("kind")

    @kinds.register("pair")
    @dataclass(frozen=True)
    class Pair:
        left: int
        right: int = 0

    assert kinds.build("pair", {"left": 1}) == Pair(1)
    with pytest.raises(InvalidInput, match="missing"):
        kinds.build("pair")
    with pytest.raises(InvalidInput, match="dataclass"):
        kinds.register("plain")(type("Plain", (), {}))


@pytest.mark.parametrize("name", ["", "mine@l2", "my bound", None, Twice])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidInput, match=r"letters, digits.*register\("):
        register(name)  # type: ignore[arg-type]
    assert name not in ESTIMATORS


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a class"):
        register("mine")(lambda analysis: analysis)  # type: ignore[arg-type]


def test_messages_offer_the_same_whichever_yardsticks_are_loaded() -> None:
    assert "frobenius" in ESTIMATORS and "frobenius" not in ESTIMATORS.offered()
    assert "frobenius" in ESTIMATORS.all_names() and "spectral" in ESTIMATORS.offered()


def test_a_declared_module_that_ends_the_interpreter_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "leaves-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: leaves\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[lipreg]\nleaves = leaves_at_once\n")
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    kinds: Registry[type] = Registry("kind")
    with pytest.warns(UserWarning, match="leaves_at_once, declared for lipreg, cannot be imported: SystemExit"):
        assert not kinds.has("nothing")
