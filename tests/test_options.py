"""The one kind of registry: names belong to one class, and go with the instances that bear them."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from lipreg.auditing import Executor, register_executor
from lipreg.auditing.executors import EXECUTORS
from lipreg.errors import InvalidInput
from lipreg.estimators import ESTIMATORS, BoundEstimator, Estimator, register
from lipreg.estimators.products.spectral import Spectral
from lipreg.milp import SOLVERS, Solver, register_solver
from lipreg.options import Registry
from lipreg.penalties import PENALTIES, Penalty, get_penalty
from lipreg.quantities.base import QUANTITIES
from lipreg.schedules import SCHEDULES
from lipreg.seen import Seen


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


class Nothing:
    pass


@pytest.mark.parametrize(
    "registry", [ESTIMATORS, SOLVERS, QUANTITIES, PENALTIES, SCHEDULES, EXECUTORS], ids=lambda r: r.what
)
def test_a_class_of_no_kind_or_half_of_one_is_refused(registry: Registry[Any]) -> None:
    base = registry._base
    before = dict(registry)
    with pytest.raises(InvalidInput, match=rf"Nothing is no {base.__name__}.*Write class Nothing\({base.__name__}\)"):
        registry.register("nothing")(dataclass(Nothing))
    with pytest.raises(InvalidInput, match=r"Half has no (answer|run|values|reduce|factor|begin)"):
        registry.register("half")(dataclass(type("Half", (base,), {})))
    assert registry == before


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            {"norm": (2.0,)},
            r"estimator 'mine': Mine\.norm, which nothing reads \(did you mean 'norms'\?\).*Write norms, or _norm",
        ),
        ({"weighed": True}, "did you mean 'weighted'"),
        ({"solver_options": "sdp_solver"}, "did you mean 'solver_option'"),
    ],
)
def test_a_misspelt_attribute_is_refused(told: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        register("mine")(type("Mine", (Spectral,), told))
    assert "mine" not in ESTIMATORS


def test_attributes_of_ones_own_are_fine() -> None:
    register("mine")(
        type("Mine", (Spectral,), {"norms": (2.0,), "norm": 2.0, "_weighted": True, "passes": 3, "kind": dict})
    )


def test_what_an_estimator_does_not_say_is_named() -> None:
    with pytest.raises(InvalidInput, match="Mine has no certificate"):
        register("mine")(type("Mine", (Estimator,), {"answer": lambda self, work: []}))
    with pytest.raises(InvalidInput, match="Mine has no package, finest"):
        register_solver("mine")(type("Mine", (Solver,), {"run": None, "version": None}))


def test_options_that_would_be_none_and_what_is_frozen_in_vain_are_refused() -> None:
    kind = type("More", (Limit,), {"__annotations__": {"least": "float"}, "least": 0.0})
    with pytest.raises(
        InvalidInput, match=r"More is no dataclass itself, so that least would be no options.*frozen=True"
    ):
        PENALTIES.register("more")(kind)
    methods = dict.fromkeys(
        ("begin", "free", "running", "submit", "collect", "stop", "end", "kill", "close"), Limit.reduce
    )
    plain = type("Plain", (Executor,), {**methods, "slots": 1})
    with pytest.raises(InvalidInput, match=r"Plain is no dataclass.*Add @dataclass\(eq=False\)"):
        register_executor("plain")(plain)
    with pytest.raises(InvalidInput, match=r"Plain is frozen.*Write @dataclass\(eq=False\)"):
        register_executor("plain")(dataclass(frozen=True)(plain))


@dataclass(frozen=True)
class Limit(Penalty):
    """A kind with an option, as others write it."""

    most: float = 1.0

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.clamp(max=self.most).mean()


def test_one_kind_under_two_names_is_called_by_the_one_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PENALTIES, "_names", dict(PENALTIES._names))
        for name in ("limit", "also"):
            patch.setitem(PENALTIES, name, Limit)  # gone after the test
            PENALTIES.register(name)(Limit)
        made = [PENALTIES.build(name, {"most": 2.0}) for name in ("limit", "also")]
        assert [each.describe()["kind"] for each in made] == ["limit", "also"]
        assert Limit(3.0).name == "limit", "what is made by hand is called as its class was first registered"
        assert pickle.loads(pickle.dumps(made[1])).name == "also" and made[0] == made[1] == Limit(2.0)
        assert "name" not in vars(Limit), "names are of entries and of instances"
        assert get_penalty(made[1].describe()).name == "also"


def test_what_is_not_registered_has_no_name() -> None:
    with pytest.raises(AttributeError, match="Limit has no name"):
        _ = Limit().name
    with pytest.raises(InvalidInput, match="no name of its own"):
        get_penalty(Limit())


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
